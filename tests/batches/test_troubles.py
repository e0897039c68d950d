"""What administrators do to a share while batches use it. Never lost: a client on its way."""

import contextlib

import pytest
import smbclient
from pydantic import SecretStr

from agent.patriot.share import open_share

DIALECTS = ["smb2", "smb3"]
RESULTS = "clients_Import_Results.txt"


@pytest.fixture(params=DIALECTS)
def site(request, make_box, smbd):
    """(box, smbd): one client imported already."""
    return make_box(folder=smbd.share, share_settings=smbd.settings(dialect=request.param)), smbd


async def test_the_share_is_renamed_and_named_back(site):
    box, smbd = site
    await box.put(1, "one")
    await box.run()
    smbd.kill()
    configuration = smbd.configuration.read_text()
    smbd.configuration.write_text(configuration.replace("[api_import]", "[api_import_2]"))
    smbd.start()
    await box.put(2, "two")
    for _ in range(2):
        batch = await box.batches.run_once("test")
        assert batch.outcome not in ("ok", "authentication"), batch
    assert "api_import" in box.batches.share_status()["error"]
    smbd.kill()
    smbd.configuration.write_text(configuration)
    smbd.start()
    await box.run()
    assert box.lies_there() == {"1BASE11": "one", "2BASE11": "two"}


async def test_the_password_is_changed_at_the_server(site):
    box, smbd = site
    await box.put(1, "one")
    await box.run()
    await box.batches._hang_up()
    await box.put(2, "two")
    box.share_settings = box.share_settings.model_copy(update={"password": SecretStr("the old one")})
    box.restart(open_share(box.share_settings))
    batch = await box.batches.run_once("test")
    assert batch.outcome == "authentication"
    assert "the old one" not in batch.detail and "the old one" not in str(box.batches.share_status())
    box.share_settings = smbd.settings(dialect=box.share_settings.dialect)
    box.restart(open_share(box.share_settings))
    await box.run()
    assert box.lies_there() == {"1BASE11": "one", "2BASE11": "two"}


async def test_results_that_somebody_holds_open_are_read_later(site):
    """Patriot's own program, or an editor at the central office, with the file to itself."""
    box, smbd = site
    await box.put(1, "one")
    await box.run()
    box.success("1BASE11")
    with exclusively(smbd, RESULTS):
        await box.look()
        assert await box.state(1) == "pending_import"
        await box.put(2, "two")
        await box.batches.run_once("test")
    await box.look()
    await box.run()
    box.success("2BASE11")
    await box.look()
    assert (await box.state(1), await box.state(2)) == ("imported", "imported")


@contextlib.contextmanager
def exclusively(smbd, name):
    """Hold a file of the share open so that nobody else may."""
    cache = {}
    address = rf"\\127.0.0.1\api_import\{name}"
    login = {"username": smbd.user, "password": "S3cret-pw", "port": smbd.port, "connection_cache": cache}
    try:
        with smbclient.open_file(address, mode="rb", share_access=None, **login):
            yield
    finally:
        smbclient.reset_connection_cache(connection_cache=cache)
