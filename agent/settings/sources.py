"""Settings of each kind of source."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from agent.alarms.model import Kind
from agent.settings.types import Account, HttpUrl, Name, Seconds, Section, ZoneAt

LONGEST_NUMBER = 18  # digits that the journal's integers hold


def _start(value: str) -> str:
    if value not in ("now", "beginning"):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError('must be "now", "beginning" or an ISO 8601 instant') from None
    return value


class _Source(Section):
    name: Name
    """unique; small letters, digits and hyphens; in logs, metrics and alarms"""
    start_from: Annotated[str, AfterValidator(_start)] = "now"
    """which alarms count at the very first poll: "now", "beginning" or an ISO 8601 instant"""
    account: Account | None = None
    """the client the alarms belong to, as the receiver knows it: 3-16 hex digits"""
    zones: dict[str, Annotated[int, Field(ge=0, le=999)] | ZoneAt] = {}
    """device's camera, door or zone id -> zone number at the monitoring centre, or { account, zone }"""
    ca_file: Path | None = None
    """PEM file of the authority that signed the device's certificate; absent: the system's authorities"""
    timeout_s: Seconds = 10.0
    """how long one answer of the device may take"""
    lost_after_s: Annotated[float, Field(ge=0, le=86400)] = 5.0
    """a device silent this long is reported as source_lost"""
    state_interval_s: Seconds = 15.0
    """how often slow lists are read: batteries, cameras"""

    def place_of(self, device: str) -> tuple[str, int]:
        """Account and zone number of a device's camera, door or zone ("" where no account is configured)."""
        mapped = self.zones.get(device)
        if isinstance(mapped, ZoneAt):
            return mapped.account, mapped.zone
        if mapped is None:
            # Larger than a client's zones at the centre, but its own: vendors in the cloud number doors and zones by
            # the hundred thousand, and one number for all of them would tell an operator nothing.
            mapped = int(device) if device.isascii() and device.isdecimal() and len(device) <= LONGEST_NUMBER else 0
        return self.account or "", mapped


class DavantisSource(_Source):
    kind: Literal["davantis"]
    url: HttpUrl
    """address of the device, for instance "http://192.168.1.100:21000\""""
    username: str
    """the device's user"""
    password: SecretStr = SecretStr("")
    """better as credential source_<name>_password"""
    poll_interval_s: Annotated[float, Field(ge=0.05, le=3600)] = 0.25
    """seconds between polls"""
    armed_only: bool = True
    """only alarms of armed cameras"""
    system_events: bool = True
    """camera 0, sabotage, armed/disarmed, camera lost: read whatever armed_only says"""


class LocktSource(_Source):
    kind: Literal["lockt"]
    url: HttpUrl = "https://cloudapi.lockt.com"
    """the vendor's cloud"""
    api_user: str
    """user of the vendor's API"""
    api_key: SecretStr
    """better as credential source_<name>_api_key"""
    poll_interval_s: Annotated[float, Field(ge=0.05, le=3600)] = 15.0
    """seconds between polls; the vendor's cloud asks for modesty"""
    low_battery: Annotated[int, Field(ge=0, le=100)] = 20
    """percent at which a lock's battery is low; 0: never"""
    codes: dict[str, Kind] = {}
    """event code ("49") or code and subcode ("49/104") -> kind, beside the built-in table"""


class SensaphoneSource(_Source):
    kind: Literal["sensaphone"]
    url: HttpUrl = "https://rest.sensaphone.net"
    """the vendor's cloud"""
    username: str
    """user at the vendor's cloud"""
    password: SecretStr
    """better as credential source_<name>_password"""
    poll_interval_s: Annotated[float, Field(ge=0.05, le=3600)] = 30.0
    """seconds between polls"""


class MilestoneSource(_Source):
    kind: Literal["milestone"]
    url: HttpUrl
    """address of the API gateway, for instance "https://vms.example.no\""""
    username: str
    """an XProtect user; for grant = "windows" with its domain: "DOMAIN\\\\user\""""
    password: SecretStr
    """better as credential source_<name>_password"""
    grant: Literal["basic", "windows"] = "basic"
    """kind of the user in XProtect"""
    idp_url: HttpUrl | None = None
    """identity provider; absent: found from url"""
    poll_interval_s: Annotated[float, Field(ge=0.05, le=3600)] = 1.0
    """seconds between polls"""
    page_size: Annotated[int, Field(ge=1, le=1000)] = 100
    """alarms a page"""


SourceSettings = Annotated[
    DavantisSource | LocktSource | SensaphoneSource | MilestoneSource, Field(discriminator="kind")
]


def kinds() -> list[str]:
    return ["davantis", "lockt", "sensaphone", "milestone"]


AnySource: Any = DavantisSource | LocktSource | SensaphoneSource | MilestoneSource
