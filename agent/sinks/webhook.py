"""Post each alarm as JSON.

2xx → acknowledged · 408, 425, 429, 5xx, no answer → kept, Retry-After honoured · other 3xx, 4xx → set aside
"""

import hashlib
import hmac
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
import trio

from agent.alarms.model import Delivery
from agent.faults import Fault, FaultClass, Rejected
from agent.http import HttpClient
from agent.settings.sinks import WebhookSink as WebhookSettings
from agent.sinks.body import body_of, idempotency_key

MAX_ANSWER_BYTES = 64 * 1024
LATER = frozenset({408, 425, 429})


class WebhookSink:
    """`agent.alarms.model.Sink`. The path of the address is never in a fault: it often holds a token."""

    def __init__(self, settings: WebhookSettings, *, site: str = "") -> None:
        self.name = settings.name
        self._site = site
        self._secret = settings.secret.get_secret_value().encode() if settings.secret else None
        parts = urlsplit(settings.url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._settings = settings
        self._client = self._make_client()

    def _make_client(self) -> HttpClient:
        parts = urlsplit(self._settings.url)
        return HttpClient(
            f"{parts.scheme}://{parts.netloc}",
            timeout_s=self._settings.timeout_s,
            ca_file=self._settings.ca_file,
            connections=16,
        )

    async def deliver(self, delivery: Delivery) -> None:
        body = await body_of(delivery)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key(self._site, delivery.alarm.id, body),
        }
        if self._secret is not None:
            headers["Varde-Signature"] = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        answer = await self._client.request(
            "POST", self._path, content=body, headers=headers, max_bytes=MAX_ANSWER_BYTES
        )
        self._judge(answer)

    async def run(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            done, self._client = self._client, self._make_client()  # `run` may be started again
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await done.aclose()

    async def probe(self) -> str:
        """HEAD: any answer but a 5xx is a sign of life; no alarm is made."""
        answer = await self._client.request("HEAD", self._path, max_bytes=MAX_ANSWER_BYTES)
        if answer.status_code >= 500:
            raise self._later(answer)
        return f"{self._client.url} answers (HTTP {answer.status_code} to HEAD)"

    def _judge(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if 200 <= status < 300:
            return
        if status >= 500 or status in LATER:
            raise self._later(answer)
        hint = " Check secret and url." if status in (401, 403, 404) else ""
        raise Rejected(f"{self._client.url} turns the alarm down (HTTP {status}).{hint}")

    def _later(self, answer: httpx.Response) -> Fault:
        return Fault(
            FaultClass.REFUSED,
            f"{self._client.url} cannot take the alarm now (HTTP {answer.status_code}).",
            hint="See the log of the service behind it.",
            retry_after_s=retry_after_s(answer.headers.get("Retry-After"), datetime.now(UTC)),
        )


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """`Retry-After` in seconds: digits or an HTTP date; None where it says nothing usable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
