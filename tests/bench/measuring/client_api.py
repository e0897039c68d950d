"""Durable PUT /clients a second, eight callers, beside the document's own design; a small and a large registry."""

import json
import re
import socket
import sqlite3
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import trio

from agent.patriot.records import sha256
from agent.patriot.row import Client, Injection, client_xml
from agent.store import Store
from measuring import document_design
from measuring.children import child
from measuring.figure import Figure, Size, Table, in_turn, pick
from measuring.site import API_KEY, running_site, settings

CALLERS = 8
FIRST = 100_000
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def put_clients(size: Size, directory: Path) -> list[Figure]:
    small, large = pick(size, (100, 100_000), (100, 20_000), (20, 100))
    lasting_s = pick(size, 5.0, 2.0, 0.2)
    table = Table("put-clients")
    rates: dict[int, dict[str, float]] = {}
    for clients in (small, large):
        ours, theirs = directory / f"ours-{clients}", directory / f"theirs-{clients}"
        _seed(ours, theirs, clients)
        with (
            child(_serve, ours) as agent,
            child(document_design.serve, theirs) as peer,
            child(document_design.serve, theirs, False) as careless,
            child(_callers, clients) as callers,
        ):
            ports = {"ours": agent.ready, "peer": peer.ready, "careless": careless.ready}
            works = {name: (lambda port=port: callers.ask((port, lasting_s))) for name, port in ports.items()}
            for port in ports.values():
                callers.ask((port, min(1.0, lasting_s)))  # the first requests meet everything cold
            rates[clients] = in_turn(pick(size, 3, 1, 1), works)
    for clients, found in rates.items():
        name = f"PUT /clients, {CALLERS} callers, {clients:,} clients"
        judged = {"least": 1.0} if clients == small else {}
        table.ratio(name, found["ours"], "a second", found["peer"], "the document's design, as durable", **judged)
        table.ratio(name, found["ours"], "a second", found["careless"], "the same without a flush: not durable")
    slower = "small to large registry"
    table.ratio(slower, rates[small]["ours"], "a second", rates[large]["ours"], f"with {large:,}", most=1.2)
    return table.figures


def info(client_id: int, turn: int = 0) -> dict[str, str]:
    return {
        "Name": f"Båtbyggeriet nr. {client_id}, {turn}",
        "Location": f"Kaiveien {client_id % 100}",
        "area_code": "1604",
        "area": "Fredrikstad",
        "BusPhone": "+4712345678",
    }


def seed_registry(state_dir: Path, clients: int, *, waiting: bool) -> None:
    """`waiting`: each has a file that waits for the next batch; else all have been imported, and no files."""
    path = state_dir / "varde.db"
    Store.open(path).close()
    folder = state_dir / "out" / "clients" / "Bench"
    folder.mkdir(parents=True)
    rows = []
    for client_id in range(FIRST, FIRST + clients):
        xml = client_xml(f"{client_id}BASE11", Client(client_id, info(client_id), {}, {}), Injection({}))
        if waiting:
            (folder / f"{client_id}.xml").write_bytes(xml)
        state = ("new", 0) if waiting else ("imported", 1)
        rows.append((client_id, f"{client_id}BASE11", json.dumps(info(client_id)), sha256(xml), *state, state[1]))
    connection = sqlite3.connect(path)
    with connection:
        connection.executemany(
            "INSERT INTO clients (key_name, client_id, import_id, info_json, revision, changed_at, xml_sha256, state,"
            " sent_revision, imported_revision) VALUES ('Bench', ?, ?, ?, 1, '2026-01-01T00:00:00.000Z', ?, ?, ?, ?)",
            rows,
        )
    connection.close()


def _seed(ours: Path, theirs: Path, clients: int) -> None:
    ours.mkdir()
    theirs.mkdir()
    seed_registry(ours / "state", clients, waiting=False)
    data = {str(number): {"info": info(number), "zones": {}, "users": {}} for number in range(FIRST, FIRST + clients)}
    (theirs / "data.json").write_text(json.dumps(data))


def _serve(pipe: Connection, directory: Path) -> None:
    """For a child: the whole daemon; sends the client API's port."""

    async def serve() -> None:
        async with running_site(settings(directory)) as site:
            pipe.send(int(site.listeners["patriot"].rpartition(":")[2]))
            await trio.sleep_forever()

    trio.run(serve)


# --- the callers ------------------------------------------------------------------------------------------------------


def _callers(pipe: Connection, clients: int) -> None:
    """For a child: answers (port, seconds) with the requests a second that were answered well."""
    pipe.send(None)
    while True:
        port, lasting_s = pipe.recv()
        pipe.send(_call(port, lasting_s, clients))


def _call(port: int, lasting_s: float, clients: int) -> float:
    done: list[int] = []
    begun = time.perf_counter()
    until = begun + lasting_s
    threads = [
        threading.Thread(target=_caller, args=(port, until, range(index, clients, CALLERS), done))
        for index in range(CALLERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == CALLERS, "a caller was turned away"
    return sum(done) / (time.perf_counter() - begun)


def _caller(port: int, until: float, numbers: range, done: list[int]) -> None:
    """One installer's system: a change, its answer, the next change."""
    count = 0
    with socket.create_connection(("127.0.0.1", port)) as connected:
        while time.perf_counter() < until:
            client_id = FIRST + numbers[count % len(numbers)]
            connected.sendall(_request(client_id, count))
            status = _answer(connected)
            assert status in (b"200", b"201"), status
            count += 1
    done.append(count)


def _request(client_id: int, turn: int) -> bytes:
    body = json.dumps({"client_id": client_id, "info": info(client_id, turn)}).encode()
    head = (
        f"PUT /clients HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {API_KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _answer(connected: socket.socket) -> bytes:
    received = b""
    while True:
        part = connected.recv(65536)
        assert part, "the server closes the connection"
        received += part
        end = received.find(b"\r\n\r\n")
        found = _LENGTH.search(received, 0, end + 2) if end >= 0 else None
        if found and len(received) >= end + 4 + int(found[1]):
            return bytes(received[9:12])
