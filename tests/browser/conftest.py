"""A whole simulated site in a process of its own, and a real Chromium that looks at it.

Nothing here waits a fixed time: what is waited for is a condition, with a minute's patience, since two cores may be
busy with much else.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

PATIENCE_S = 60.0


@dataclass
class Site:
    base: str
    token: str


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    script = Path(__file__).with_name("demo_site.py")
    directory = tmp_path_factory.mktemp("site")
    process = subprocess.Popen(
        [sys.executable, str(script), str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    lines: Queue[str] = Queue()
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout or ()], daemon=True)
    reader.start()
    try:
        yield _where(lines)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        process.stdout.close()


def _where(lines: "Queue[str]") -> Site:
    said = []
    while True:
        try:
            said.append(lines.get(timeout=PATIENCE_S))
        except Empty:
            pytest.fail("the simulated site did not come up:\n" + "".join(said))
        found = re.match(r"console:\s+(http://\S+)/login\?token=(\S+)", said[-1])
        if found:
            return Site(found[1], found[2])


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        # Debian's own: playwright's download is never used.
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Watcher:
    """What no page may do: complain, break, or speak to another host."""

    base: str
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        # Violations of the content security policy are told as errors too.
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.base + "/", "data:", "blob:")):
            self.complaints.append(f"request to another host: {request.url}")


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(site: Site, chromium: Browser) -> Iterator[OpenPage]:
    """`open_page(path, width=…, **options of the browser context)`: a page that is logged in, watched to its end."""
    watcher = Watcher(site.base)
    contexts: list[BrowserContext] = []

    def open_(path: str = "/", *, width: int = 1280, logged_in: bool = True, **options: object) -> Page:
        context = chromium.new_context(
            base_url=site.base,
            viewport={"width": width, "height": 800},
            **{"locale": "en-GB", **options},  # type: ignore[arg-type]
        )
        context.set_default_timeout(PATIENCE_S * 1000)
        contexts.append(context)
        page = context.new_page()
        watcher.watch(page)
        if logged_in:
            page.goto(f"/login?token={site.token}")
            page.wait_for_url(f"{site.base}/")
        if path != "/" or not logged_in:
            page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert watcher.complaints == []
