"""One contract for the three shares, against a real smbd; then what each kind of refusal is called."""

# ruff: noqa: ASYNC110, ASYNC221, ASYNC240 - the tests look at the server's folder while it works

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from pydantic import SecretStr

from agent.faults import Fault, FaultClass
from agent.patriot.share import Gone, NameTaken, Share, open_share, probe
from agent.settings.models import Share as ShareSettings

SMB = ["smb2", "smb3"]
BIG = 400_000_000  # seconds of uploading: time for the trouble to come in the middle of it


@pytest.fixture(params=["directory", "smb2", "smb3"])
async def place(request, tmp_path) -> AsyncIterator[tuple[Share, Path]]:
    """A share and the folder behind it."""
    if request.param == "directory":
        folder = tmp_path / "folder"
        folder.mkdir()
        share = open_share(ShareSettings(kind="directory", path=folder, timeout_s=20))
    else:
        smbd = request.getfixturevalue("smbd")
        folder = smbd.share
        share = open_share(smbd.settings(dialect=request.param))
    yield share, folder
    await share.close()


@pytest.fixture
def local(tmp_path) -> Path:
    path = tmp_path / "local.xml"
    path.write_bytes(b"<Clients>\xc3\xa6\xc3\xb8\xc3\xa5</Clients>" * 20_000)
    return path


async def test_what_is_written_is_read_back_whole(place, local, tmp_path):
    share, folder = place
    assert await share.stat("new.tmp") is None
    assert await share.read("new.tmp") is None
    assert not await share.fetch("new.tmp", tmp_path / "nothing")
    await share.write_new("new.tmp", local)
    found = await share.stat("new.tmp")
    assert found is not None and found.size == local.stat().st_size
    assert abs(found.modified - (folder / "new.tmp").stat().st_mtime) < 0.01
    assert await share.read("new.tmp") == local.read_bytes()
    assert await share.fetch("new.tmp", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == local.read_bytes() == (folder / "new.tmp").read_bytes()


async def test_nothing_is_ever_replaced(place, local):
    share, folder = place
    (folder / "there.xml").write_text("old")
    await share.write_new("new.tmp", local)
    with pytest.raises(NameTaken):
        await share.write_new("there.xml", local)
    with pytest.raises(NameTaken):
        await share.rename("new.tmp", "there.xml")
    assert (folder / "there.xml").read_text() == "old"
    await share.rename("new.tmp", "free.xml")
    assert sorted(file.name for file in folder.iterdir()) == ["free.xml", "there.xml"]
    assert (folder / "free.xml").read_bytes() == local.read_bytes()


async def test_delete_takes_one_file_and_never_a_pattern(place):
    share, folder = place
    for name in ("a.xml", "b.xml", "[ab].xml"):
        (folder / name).write_text("x")
    for pattern in ("*.xml", "?.xml", "a.xml/..", "../a.xml", "", "<.xml", 'a".xml', "a\x00.xml"):
        with pytest.raises(ValueError, match="not a plain file name"):
            await share.delete(pattern)
    await share.delete("[ab].xml")
    await share.delete("absent.xml")
    assert sorted(file.name for file in folder.iterdir()) == ["a.xml", "b.xml"]


async def test_folders_and_national_letters(place, local):
    share, folder = place
    (folder / "inn").mkdir()
    await share.write_new("inn/Ærlig Å 日本 🔥.tmp", local)
    await share.rename("inn/Ærlig Å 日本 🔥.tmp", "inn/clients.xml")
    assert (folder / "inn" / "clients.xml").exists()
    with pytest.raises(Fault) as caught:
        await share.write_new("absent/clients.tmp", local)
    assert caught.value.fault_class is FaultClass.REJECTED


async def test_renaming_what_is_gone(place):
    with pytest.raises(Gone):
        await place[0].rename("absent.xml", "other.xml")


async def test_a_fault_does_not_spoil_the_next_call(place, local):
    share, _ = place
    with pytest.raises(Fault):
        await share.write_new("absent/other.xml", local)
    await share.write_new("after.tmp", local)
    assert await share.read("after.tmp") == local.read_bytes()


async def test_the_probe_leaves_nothing(place):
    share, folder = place
    assert "wrote, renamed and deleted" in await probe(share, "clients.xml")
    assert list(folder.iterdir()) == []


async def test_a_folder_that_is_not_mounted(tmp_path):
    share = open_share(ShareSettings(kind="directory", path=tmp_path / "absent"))
    with pytest.raises(Fault, match="There is no folder") as caught:
        await probe(share)
    assert caught.value.fault_class is FaultClass.UNREACHABLE


async def refusal(settings: ShareSettings) -> Fault:
    with pytest.raises(Fault) as caught, trio.fail_after(60):
        await probe(open_share(settings))
    assert "S3cret" not in str(caught.value) and caught.value.hint
    return caught.value


@pytest.mark.parametrize("dialect", SMB)
async def test_each_refusal_has_its_name(smbd, dialect):
    settings = smbd.settings(dialect=dialect)
    for changes, expected, words in [
        ({"password": "wrong-S3cret"}, FaultClass.AUTHENTICATION, "password"),
        ({"username": "nobody-here"}, FaultClass.AUTHENTICATION, "username"),
        ({"share": "no_such_share"}, FaultClass.REJECTED, "Check share"),
        ({"share": "readonly"}, FaultClass.REJECTED, "right to write"),
        ({"port": 1}, FaultClass.REFUSED, "port 1 is closed"),
        ({"server": "no-such-host.invalid"}, FaultClass.UNREACHABLE, "Check server"),
    ]:
        fault = await refusal(settings.model_copy(update=_secret(changes)))
        assert (fault.fault_class, words in str(fault)) == (expected, True), (changes, str(fault))


def _secret(changes):
    return {key: SecretStr(value) if key == "password" else value for key, value in changes.items()}


@pytest.mark.parametrize("dialect", SMB)
async def test_one_wrong_password_is_one_try(smbd, dialect):
    """A locked account is the price of a library that tries twice by itself."""
    await refusal(smbd.settings(dialect=dialect, password="wrong"))
    assert smbd.logins() == 1


@pytest.mark.parametrize("demand", ["server min protocol = SMB3", "smb encrypt = required"])
async def test_a_server_that_demands_smb3(make_smbd, demand):
    smbd = make_smbd(demand)
    fault = await refusal(smbd.settings(dialect="smb2"))
    assert fault.fault_class is FaultClass.PROTOCOL
    assert 'dialect = "smb3"' in fault.hint
    assert "deleted" in await probe(open_share(smbd.settings(dialect="smb3")))


async def test_a_server_that_has_no_smb3(make_smbd):
    smbd = make_smbd("server max protocol = SMB2_02")
    fault = await refusal(smbd.settings(dialect="smb3"))
    assert fault.fault_class is FaultClass.PROTOCOL
    assert 'dialect = "smb2"' in fault.hint
    assert "deleted" in await probe(open_share(smbd.settings(dialect="smb2")))


@pytest.fixture
def big(tmp_path) -> Path:
    path = tmp_path / "big.xml"
    with path.open("wb") as file:
        file.truncate(BIG)
    return path


async def trouble_mid_upload(share: Share, source: Path, arriving: Path, trouble) -> Fault:
    """The fault of an upload that meets `trouble` once some of it has arrived."""
    faults: list[Fault] = []

    async def upload() -> None:
        with pytest.raises(Fault) as caught:
            await share.write_new(arriving.name, source)
        faults.append(caught.value)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload)
            while not arriving.exists() or arriving.stat().st_size == 0:
                await trio.sleep(0.001)
            trouble()
    return faults[0]


async def no_thread_is_left(share) -> None:
    """The server is still frozen: only a severed socket ends the call that hangs in it."""
    with trio.fail_after(20):
        while share._limiter.borrowed_tokens:
            await trio.sleep(0.01)


@pytest.mark.parametrize("dialect", SMB)
async def test_a_frozen_server_is_given_up_mid_upload(smbd, dialect, big, local):
    share = open_share(smbd.settings(dialect=dialect, timeout_s=1))
    fault = await trouble_mid_upload(share, big, smbd.share / "up.tmp", smbd.freeze)
    assert fault.fault_class is FaultClass.SLOW
    await no_thread_is_left(share)
    smbd.thaw()
    await share.write_new("up2.tmp", local)
    assert (smbd.share / "up2.tmp").read_bytes() == local.read_bytes()
    await share.close()


@pytest.mark.parametrize("dialect", SMB)
async def test_a_frozen_server_does_not_hold_a_stop(smbd, dialect):
    """The call is cancelled from outside, long before its own time limit."""
    share = open_share(smbd.settings(dialect=dialect, timeout_s=3000))
    await share.stat("x")
    smbd.freeze()
    with trio.fail_after(30), trio.move_on_after(0.2) as scope:
        await share.stat("x")
    assert scope.cancelled_caught
    await no_thread_is_left(share)
    smbd.thaw()
    assert await share.stat("x") is None
    await share.close()


@pytest.mark.parametrize("dialect", SMB)
async def test_killed_and_restarted_mid_upload(smbd, dialect, big, local):
    share = open_share(smbd.settings(dialect=dialect))
    fault = await trouble_mid_upload(share, big, smbd.share / "up.tmp", smbd.kill)
    assert fault.fault_class in (FaultClass.REFUSED, FaultClass.UNREACHABLE)
    smbd.start()
    await share.delete("up.tmp")
    await share.write_new("up.tmp", local)
    assert (smbd.share / "up.tmp").read_bytes() == local.read_bytes()
    await share.close()


@pytest.mark.parametrize("dialect", SMB)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs takes root")
async def test_a_full_disk(smbd, dialect, big):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "tmpfs", smbd.share], check=True)
    try:
        share = open_share(smbd.settings(dialect=dialect))
        with pytest.raises(Fault) as caught:
            await share.write_new("up.tmp", big)
        assert "Free space" in str(caught.value)
        await share.delete("up.tmp")
        await share.close()
    finally:
        smbd.kill()
        subprocess.run(["umount", "-l", smbd.share], check=True)
