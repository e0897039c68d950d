"""The peer of the client API: the design that the API's document itself shows, done well.

One FastAPI application under uvicorn, all clients in memory, the whole of data.json written anew at each change and
the client's XML file beside it. It is given the same promise to keep: a change is on the disk before it is answered.
"""

import json
import logging
import os
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from lxml import etree
from pydantic import BaseModel

from measuring.site import API_KEY

bearer = HTTPBearer()


class Info(BaseModel):
    Name: str
    Location: str | None = None
    area_code: str | None = None
    area: str | None = None
    BusPhone: str | None = None


class Put(BaseModel):
    client_id: int
    info: Info


def application(directory: Path, durable: bool) -> FastAPI:
    app = FastAPI()
    data_file = directory / "data.json"
    clients: dict[str, Any] = json.loads(data_file.read_text())
    lock = threading.Lock()

    @app.put("/clients")
    def put(
        body: Put, who: Annotated[HTTPAuthorizationCredentials, Depends(bearer)], request: Request
    ) -> dict[str, Any]:
        if who.credentials != API_KEY:
            raise HTTPException(401)
        with lock:
            client = clients.setdefault(str(body.client_id), {"zones": {}, "users": {}})
            client["info"] = body.info.model_dump(exclude_none=True)
            _write(data_file, json.dumps(clients).encode(), durable)
            _write(directory / f"{body.client_id}.xml", _xml(body.client_id, client["info"]), durable)
        return {"client_id": body.client_id, **client}

    return app


def _xml(client_id: int, info: dict[str, Any]) -> bytes:
    row = etree.Element("Row")
    etree.SubElement(row, "__id").text = f"{client_id}BASE11"
    for name, value in info.items():
        etree.SubElement(row, name).text = str(value)
    root = etree.Element("Clients")
    root.append(row)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _write(path: Path, content: bytes, durable: bool) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)


def serve(pipe: Connection, directory: Path, durable: bool = True) -> None:
    """For a child: sends the port."""
    logging.disable(logging.CRITICAL)
    config = uvicorn.Config(
        application(directory, durable), host="127.0.0.1", port=0, log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    bound = config.bind_socket()
    pipe.send(bound.getsockname()[1])
    server.run([bound])
