"""The rows in the order of the table: name → (what measures it, seconds it may take at the most)."""

from collections.abc import Callable
from pathlib import Path

from measuring import backlog, client_api, combining, delivery, history, idle, live, polling, uploading
from measuring.figure import Figure, Size

Row = Callable[[Size, Path], list[Figure]]

ROWS: dict[str, tuple[Row, float]] = {
    "poll-cpu": (polling.poll_cpu, 120),
    "poll-lateness": (polling.lateness, 120),
    "alarm-latency": (polling.latency, 120),
    "backlog": (backlog.backlog, 300),
    "dc09": (delivery.delivery, 300),
    "put-clients": (client_api.put_clients, 300),
    "combine": (combining.combine, 400),
    "upload": (uploading.upload, 200),
    "idle": (idle.idle, 200),
    "ten-million": (history.ten_million, 900),
    "pages": (history.pages, 120),
    "live": (live.live, 180),
    "package": (idle.package, 60),
}
