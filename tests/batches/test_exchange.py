"""Another share, or another password for it, while the agent runs."""

import pytest
from pydantic import SecretStr


@pytest.mark.parametrize("dialect", ["smb2", "smb3"])
async def test_a_corrected_password_is_used_at_the_next_run(make_box, smbd, dialect):
    wrong = smbd.settings(dialect=dialect).model_copy(update={"password": SecretStr("wrong")})
    box = make_box(folder=smbd.share, share_settings=wrong)
    await box.put(1)
    assert (await box.batches.run_once("test")).outcome == "authentication"
    box.batches.exchange(box.settings.model_copy(update={"share": smbd.settings(dialect=dialect)}))
    assert (await box.run()).clients == 1
    assert box.lies_there() == {"1BASE11": "Ola"}


async def test_what_waited_for_one_folder_goes_to_the_other(box, tmp_path):
    await box.put(1)
    await box.run()
    await box.put(2)
    other = tmp_path / "other"
    other.mkdir()
    share = box.share_settings.model_copy(update={"path": other})
    box.batches.exchange(box.settings.model_copy(update={"share": share}))
    assert (await box.run()).clients == 1
    assert "2BASE11" in (other / "clients.xml").read_text()
    assert str(other) in box.batches.share_status()["place"]
