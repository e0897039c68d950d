"""What must not leave the box: secrets, whoever asks, and the names of people who were erased."""

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import badhosts
import httpx
import pytest
import trio
from harness import KEY, TOKEN, Agent
from hostile import Site, table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from agent.cli.bundle import redact, secrets_of
from agent.settings import Settings, load
from agent.settings.load import ConfigurationError

# Letters that mean something to URLs, JSON, TOML, HTTP headers, shells and terminals.
AWKWARD = "é%25&+/:;<>?@=#'\" $`{}[]|~^,"
WORDS = st.text(st.sampled_from("abcXYZ019-_." + AWKWARD), min_size=16, max_size=24)


def secret(name: str) -> str:
    """Unlike any word of ours, and awkward."""
    return f'S3cret/{name}+"{AWKWARD}"\'%41'


def configure(site: Site, ports: dict[str, int]) -> list[str]:
    """A site with every kind of secret, whose far ends all fail in some way; what must not be seen."""
    url = "http://127.0.0.1:{}".format
    every = iter(list(ports.values()) * 4)
    site.tables += [
        table(
            "sources", name="d", kind="davantis", url=url(next(every)), username="u", password=secret("d"), timeout_s=1
        ),
        table("sources", name="l", kind="lockt", url=url(next(every)), api_user="u", api_key=secret("l"), timeout_s=1),
        table(
            "sources",
            name="s",
            kind="sensaphone",
            url=url(next(every)),
            username="u",
            password=secret("s"),
            timeout_s=1,
        ),
        table(
            "sources", name="m", kind="milestone", url=url(next(every)), username="u", password=secret("m"), timeout_s=1
        ),
        table(
            "sources",
            name="w",
            kind="milestone",
            url=url(next(every)),
            username=r"D\u",
            password=secret("w"),
            grant="windows",
            timeout_s=1,
        ),
        table(
            "sinks",
            name="r",
            kind="sia-dc09",
            host="127.0.0.1",
            port=next(every),
            encryption_key="text:0123456789abcdef",
            reply_timeout_s=1,
        ),
        table(
            "sinks",
            name="h",
            kind="webhook",
            url=url(next(every)) + "/?k=query-" + "q" * 12,
            secret=secret("h"),
            timeout_s=1,
        ),
        table(
            "sinks", name="q", kind="mqtt", url=f"mqtt://u@127.0.0.1:{next(every)}", password=secret("q"), timeout_s=1
        ),
        table(
            "sinks",
            name="x",
            kind="milestone",
            url=url(next(every)),
            username="u",
            password=secret("x"),
            camera="c",
            timeout_s=1,
        ),
        "[share]\n" + f'kind = "smb"\nserver = "127.0.0.1"\nport = {next(every)}\nshare = "s"\nusername = "u"\n'
        f"password = {json.dumps(secret('share'))}\ntimeout_s = 2\n[combine]\nevery_s = 1\n",
    ]
    return [
        *(secret(name) for name in ("d", "l", "s", "m", "w", "h", "q", "x", "share")),
        "0123456789abcdef",
        "query-" + "q" * 12,
        TOKEN,
        KEY,
    ]


def forms(text: str) -> set[str]:
    """A secret as it stands, and as JSON, URLs, forms and Python write it."""
    response = httpx.Request("GET", "http://x/", params={"p": text})
    return {
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        response.url.query.decode()[2:],
    }


def everything_outside(agent: Agent) -> Iterator[tuple[str, str]]:
    """(where, what) of all that the box tells anybody."""
    for words in (
        ("status",),
        ("status", "--json"),
        ("check",),
        ("check", "--json"),
        ("alarms",),
        ("deliveries",),
        ("batches",),
    ):
        done = agent.run(*words)
        yield f"varde {' '.join(words)}", done.stdout + done.stderr
    bundle = agent.directory / "bundle.tar.gz"
    assert agent.run("bundle", "--output", str(bundle)).returncode == 0
    with tarfile.open(bundle) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            yield f"bundle {member.name}", file.read().decode()
    for path in ("status", "health", "checks", "sources", "alarms", "deliveries", "batches", "clients", "audit"):
        yield f"control {path}", agent.request("GET", f"/api/v1/{path}").text
    console, metrics, patriot = agent.url("console"), agent.url("metrics"), agent.url("patriot")
    with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, follow_redirects=True, timeout=60) as http:
        for path in ("/", "/alarms", "/clients", "/health", "/cameras", "/api/v1/status", "/api/v1/unknown"):
            yield f"console {path}", http.get(console + path).text
    for url in (
        f"{metrics}/metrics",
        f"{metrics}/readyz",
        f"{patriot}/docs",
        f"{patriot}/openapi.json",
        f"{patriot}/clients",
    ):
        yield url, httpx.get(url, timeout=60).text
    for file in [*(agent.directory / "log").rglob("*"), agent.directory / "stderr.log"]:
        yield file.name, file.read_text()
    assert agent.process is not None
    yield "process list", subprocess.run(["ps", "-ef", "ww"], capture_output=True, text=True, check=True).stdout
    yield "command line", Path(f"/proc/{agent.process.pid}/cmdline").read_text()


@pytest.mark.timeout(180)
async def test_no_configured_secret_is_seen_anywhere(site: Site) -> None:
    ports = {name: await badhosts.listen(site.nursery, evil) for name, evil in badhosts.ALL.items()}
    ports["echo"] = await badhosts.listen(site.nursery, badhosts.echo)
    ports["nobody"] = 9
    secrets = configure(site, ports)
    await site.start()

    def all_have_failed() -> bool:
        status = site.agent.get("/api/v1/status")
        return all(source["errors"] for source in status["sources"]) and site.agent.get("/api/v1/batches")["batches"]

    await site.until(all_have_failed, "every far end has failed")
    found = await trio.to_thread.run_sync(lambda: list(everything_outside(site.agent)))
    assert len(found) > 30
    for text in secrets:
        shown = [(where, form) for where, what in found for form in forms(text) if form in what]
        assert not shown, shown


def secret_settings(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secret_settings(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from secret_settings(item)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORDS, min_size=4, max_size=4, unique=True))
def test_settings_never_show_a_secret_whatever_it_is(tmp_path: Path, words: list[str]) -> None:
    """Neither as text, nor in a fault of the same file, nor in a bundle."""
    source = table("sources", name="d", kind="davantis", url="http://x", username="u", password=words[0])
    sink = table("sinks", name="h", kind="webhook", url="http://x/", secret=words[1])
    share = f'[share]\nkind = "smb"\nserver = "s"\nshare = "s"\nusername = "u"\npassword = {json.dumps(words[2])}\n'
    whole = f"[console]\ntoken = {json.dumps(words[3])}\n{share}{source}\n{sink}"
    config = tmp_path / "agent.toml"
    config.write_text(whole, "utf-8")
    good: Settings = load(config, {})
    assert sorted(secret_settings(good)) == sorted(words)
    hidden = secrets_of(good)
    for shown in (repr(good), str(good), good.model_dump_json(), json.dumps(good.model_dump(mode="json"))):
        assert not [word for word in words if word in shown]
    assert not [word for word in words if word in redact(json.dumps(words) + "".join(words), hidden)]
    for broken in (
        whole + "\nbroken =\n",
        whole.replace("password", "pasword"),
        whole.replace('"davantis"', '"lockt"'),
    ):
        config.write_text(broken, "utf-8")
        with pytest.raises(ConfigurationError) as caught:
            load(config, {})
        shown = f"{caught.value!r} {caught.value} {caught.value.faults}"
        assert not [word for word in words if word in shown]


def test_an_erased_client_leaves_no_trace(agent: Agent) -> None:
    """`varde clients erase`, under a running daemon, after changes, batches and results: no byte of the name."""
    name, phone = "Synnøve Hemmeligsen", "+47 99 88 77 66"
    share = agent.directory / "share"
    share.mkdir()
    agent.configure(
        f'[share]\nkind = "directory"\npath = "{share}"\nresults_interval_s = 0.3\n[combine]\nevery_s = 0.5'
    )
    agent.start()
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=agent.url("patriot"), headers=headers) as http:
        for number in range(1, 4):
            info = {"Name": f"{name} {number}", "SPPage": f"{name} " * 100}
            assert http.put("/clients", json={"client_id": 9998, "info": info}).status_code in (200, 201)
        user = {"UserNo": 1, "User_Name": name, "MobileNo": phone}
        assert http.post("/clients/users", json={"client_id": 9998, "user": user}).status_code in (200, 201, 422)
        assert http.put("/clients", json={"client_id": 1, "info": {"Name": "Stays"}}).status_code == 201
    agent.until(lambda: (share / "clients.xml").exists(), "a batch goes out")
    assert traces(agent.directory, name, ours_only=True), "it is there before"
    done = agent.run("clients", "erase", "9998", "--key", "Test", "--yes")
    assert done.returncode == 0, done.stderr
    assert traces(agent.directory, name, ours_only=True) == []
    assert traces(agent.directory, phone, ours_only=True) == []
    assert b"Stays" in b"".join(path.read_bytes() for path in agent.state.rglob("*") if path.is_file())
    agent.stop()
    assert traces(agent.directory, name, ours_only=True) == []


def traces(folder: Path, text: str, *, ours_only: bool) -> list[Path]:
    """Files that hold the text, in any of the forms that we write; the share is the central office's."""
    forms = {
        text.encode(),
        json.dumps(text)[1:-1].encode(),
        text.encode("utf-16-le"),
        "".join(f"&#{ord(c)};" if ord(c) > 127 else c for c in text).encode(),
    }
    files = [path for path in folder.rglob("*") if path.is_file() and not (ours_only and "share" in path.parts)]
    return [path for path in files if any(form in path.read_bytes() for form in forms)]


def test_files_with_personal_data_are_for_the_agent_and_its_group(agent: Agent) -> None:
    """Whatever the umask."""
    agent.before = lambda: os.umask(0)
    share = agent.directory / "share"
    share.mkdir()
    agent.configure(f'[share]\nkind = "directory"\npath = "{share}"\n[combine]\nevery_s = 0.5')
    agent.start()
    headers = {"Authorization": f"Bearer {KEY}"}
    httpx.put(f"{agent.url('patriot')}/clients", headers=headers, json={"client_id": 1, "info": {"Name": "A"}})
    agent.until(lambda: (share / "clients.xml").exists(), "a batch goes out")
    agent.until(lambda: (agent.state / "client_state.json").exists(), "the state file")
    files = {
        path: path.stat().st_mode & 0o777 for path in [*agent.state.rglob("*"), *(agent.directory / "log").rglob("*")]
    }
    assert {
        str(path.relative_to(agent.directory)): oct(mode)
        for path, mode in files.items()
        if path.is_file() and mode & 0o027
    } == {}
    assert {
        str(path.relative_to(agent.directory)): oct(mode)
        for path, mode in files.items()
        if path.is_dir() and mode & 0o027
    } == {}
