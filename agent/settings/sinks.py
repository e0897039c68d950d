"""Settings of each kind of sink."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_serializer, model_validator

from agent.alarms.model import Kind
from agent.settings.types import HttpUrl, Name, Port, Seconds, Section

UNSENT_BY_DEFAULT = frozenset({Kind.ACCESS_GRANTED})


class _Sink(Section):
    name: Name
    """unique; small letters, digits and hyphens"""
    sources: list[Name] | None = None
    """only alarms of these sources; absent: all"""
    kinds: list[Kind] | None = None
    """only these kinds; absent: everything but access_granted"""
    armed: Literal["armed", "disarmed", "any"] = "any"
    """"armed": leaves out what a device says was raised while disarmed; "disarmed": only that"""
    hold_repeats_s: Annotated[float, Field(ge=0, le=86400)] = 0.0
    """flapping protection: the same device, kind and restoral again within this time is held back, counted; 0: off"""

    def wants(self, source: str, kind: Kind, armed: bool | None) -> bool:
        if self.sources is not None and source not in self.sources:
            return False
        if kind in UNSENT_BY_DEFAULT if self.kinds is None else kind not in self.kinds:
            return False
        return not (armed is False and self.armed == "armed") and not (armed is not False and self.armed == "disarmed")


class Standby(Section):
    host: str
    port: Port
    supervision_interval_s: Annotated[float, Field(ge=0, le=86400)] = 300.0
    """NULL messages to the standby receiver; 0: none"""


def _key(value: SecretStr) -> SecretStr:
    decode_key(value.get_secret_value())
    return value


def decode_key(text: str) -> bytes:
    """A receiver's AES key from "hex:…" or "text:…": 16, 24 or 32 bytes. Raises ValueError without showing it.

    "32 characters" is AES-128 in hex for one maker and AES-256 as text for the other, so the prefix is required.
    """
    form, colon, rest = text.partition(":")
    if not colon or form not in ("hex", "text"):
        raise ValueError('must begin with "hex:" or "text:"')
    try:
        key = bytes.fromhex(rest) if form == "hex" else rest.encode("ascii")
    except ValueError:
        raise ValueError(f'after "{form}:" come {"hex digits" if form == "hex" else "ASCII characters"} only') from None
    if len(key) not in (16, 24, 32):
        raise ValueError(f"must decode to 16, 24 or 32 bytes, not {len(key)}")
    return key


class CodeOverride(Section):
    """What one kind is called on the line, for a receiver whose template differs."""

    sia: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    sia_restoral: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    cid: Annotated[str, Field(pattern=r"^[0-9A-F]{3}$")] | None = None


DETECTIONS = frozenset({Kind.INTRUSION, Kind.PERSON, Kind.VEHICLE, Kind.MOVEMENT})
"""What only means something while the site is armed; sabotage, fire and faults are reported day and night."""


class Dc09Sink(_Sink):
    kind: Literal["sia-dc09"]
    host: str
    """name or address of the receiver"""
    port: Port
    """its port"""
    protocol: Literal["tcp", "udp"] = "tcp"
    """what the receiver listens for"""
    receiver: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{1,6}$")] = "0"
    """the R field"""
    line_prefix: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{1,6}$")] = "0"
    """the L field"""
    account: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{3,16}$")] | None = None
    """account of supervision and test messages and of alarms without one; absent: the first source's that has one for
    the messages, and an alarm without one is set aside"""
    armed: Literal["armed", "disarmed", "any"] = "armed"
    """what a device detects while disarmed is not sent; "any" sends it, "disarmed" sends only that"""
    format: Literal["sia-dcs", "adm-cid"] = "sia-dcs"
    """how events are coded; Contact ID has no text and no zone above 999"""
    encryption_key: Annotated[SecretStr, AfterValidator(_key)] | None = None
    """AES key, "hex:…" or "text:…": 16, 24 or 32 bytes once decoded"""
    standby: Standby | None = None
    """a second receiver, used while the first does not answer"""
    supervision_interval_s: Annotated[float, Field(ge=0, le=86400)] = 60.0
    """NULL messages; 0: none"""
    reply_timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    """how long an acknowledgement may take before the message is sent again"""
    periodic_test_s: Annotated[float, Field(ge=0, le=30 * 86400)] = 0.0
    """how often a periodic test event (RP) is raised; 0: none"""
    codes: dict[Kind, CodeOverride] = {}
    """kind -> codes on the line, beside the built-in table"""
    raw_text: bool = False
    """send the device's letters as Windows-1252 in the text fields, for receivers set to allow it"""

    def wants(self, source: str, kind: Kind, armed: bool | None) -> bool:
        if self.armed == "armed" and kind not in DETECTIONS:
            armed = None
        return super().wants(source, kind, armed)


def _hook(value: str) -> str:
    """A webhook's address is whole as it is given: no path of a vendor's API is cut off it."""
    if not re.match(r"^https?://[^\s/@?#]+(/[^\s#]*)?(\?[^\s#]*)?$", value):
        raise ValueError('must begin with "http://" or "https://", without user and password')
    return value


class WebhookSink(_Sink):
    kind: Literal["webhook"]
    url: Annotated[str, AfterValidator(_hook)]
    """where each alarm is posted to"""
    """where alarms are posted"""
    secret: SecretStr | None = None
    """signs the body: HMAC-SHA256 in Varde-Signature"""
    ca_file: Path | None = None
    """PEM file of the authority that signed the far end's certificate; absent: the system's authorities"""
    timeout_s: Seconds = 10.0
    """how long one answer may take"""

    @field_serializer("url", when_used="json")
    def _without_token(self, url: str) -> str:
        """What is shown and goes into a bundle: path and query of a webhook's address often are its password."""
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc}" + ("/********" if parts.path.strip("/") or parts.query else "")


def _mqtt(value: str) -> str:
    if not re.match(r"^mqtts?://([^\s/@]+@)?[^\s/@]+/?$", value):
        raise ValueError('must be "mqtt://user@host:port" or "mqtts://…"')
    if re.match(r"^mqtts?://[^@]*:[^@]*@", value):
        raise ValueError("the password belongs in the key password, not in the url")
    return value.rstrip("/")


class MqttSink(_Sink):
    kind: Literal["mqtt"]
    url: Annotated[str, AfterValidator(_mqtt)]
    """mqtts://user@host:8883; mqtt:// is without TLS"""
    password: SecretStr | None = None
    """of the user in url; better as credential sink_<name>_password"""
    topic: str = "varde/{site}/{source}/alarms"
    """{site}, {source} and {kind} are filled in"""
    ca_file: Path | None = None
    """PEM file of the authority that signed the broker's certificate; absent: the system's authorities"""
    client_id: str | None = None
    """absent: varde-<site>-<sink>"""
    timeout_s: Seconds = 10.0
    """how long one answer may take"""

    @model_validator(mode="after")
    def _topic(self) -> Self:
        if re.search(r"[+#\0]", self.topic) or not self.topic or self.topic.startswith("$"):
            raise ValueError("topic: a topic to publish on has no wildcards")
        if set(re.findall(r"\{(\w*)\}", self.topic)) - {"site", "source", "kind"}:
            raise ValueError("topic: only {site}, {source} and {kind} are filled in")
        return self


class MilestoneSink(_Sink):
    kind: Literal["milestone"]
    url: HttpUrl
    """address of the API gateway"""
    username: str
    """an XProtect user; for grant = "windows" with its domain"""
    password: SecretStr
    """better as credential sink_<name>_password"""
    grant: Literal["basic", "windows"] = "basic"
    """kind of the user in XProtect"""
    idp_url: HttpUrl | None = None
    """identity provider; absent: found from url"""
    camera: str
    """id of the camera in XProtect that the alarms stand on"""
    ca_file: Path | None = None
    """PEM file of the authority that signed the server's certificate; absent: the system's authorities"""
    timeout_s: Seconds = 10.0
    """how long one answer may take"""


SinkSettings = Annotated[Dc09Sink | WebhookSink | MqttSink | MilestoneSink, Field(discriminator="kind")]
