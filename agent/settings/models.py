"""The tables of agent.toml."""

import itertools
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.settings.sinks import SinkSettings
from agent.settings.sources import SourceSettings
from agent.settings.types import Certificate, HttpUrl, Listen, Port, Seconds, Section


class Site(Section):
    """The site this box stands on."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] = "site"
    """in logs, MQTT topics and file names"""
    timezone: str = "Europe/Oslo"
    """IANA name; times that people read, and the names of rotated files"""

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except Exception:
            raise ValueError('is not a time zone of the IANA list, such as "Europe/Oslo"') from None
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class Paths(Section):
    """Folders of the agent."""

    state_dir: Path = Path("/var/lib/varde")
    """database, XML files, pictures"""
    log_dir: Path = Path("/var/log/varde")
    """the three documented log files"""
    run_dir: Path = Path("/run/varde")
    """control socket"""

    @property
    def database(self) -> Path:
        return self.state_dir / "varde.db"

    @property
    def clients(self) -> Path:
        return self.state_dir / "out" / "clients"

    @property
    def ready(self) -> Path:
        return self.state_dir / "ready_for_import" / "clients.xml"

    @property
    def client_state(self) -> Path:
        return self.state_dir / "client_state.json"

    @property
    def media(self) -> Path:
        return self.state_dir / "media"

    @property
    def control_socket(self) -> Path:
        return self.run_dir / "control.sock"


class Patriot(Certificate):
    """The Patriot client API."""

    listen: Listen = Listen(host="0.0.0.0", port=8081)
    """where the client API is served"""
    keys_file: Path = Path("/etc/varde/keys.json")
    """the API keys; reloaded when it changes"""
    trusted_proxies: list[str] = []
    """addresses of reverse proxies whose X-Forwarded-For is believed"""


class Combine(Section):
    """When the clients' files are combined into one batch."""

    minute: Annotated[int, Field(ge=0, le=59)] = 59
    """of every hour"""
    every_s: Annotated[float, Field(ge=0.2, le=86400)] | None = None
    """instead of minute: laboratories and demonstrations"""
    max_clients_per_run: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    """clients in one clients.xml; the others wait for the next run"""
    retry_after_runs: Annotated[int, Field(ge=1, le=1000)] = 3
    """a client that Patriot says nothing about goes out again after this many runs"""


class Share(Section):
    """The share through which Patriot imports clients; absent: nothing is exported."""

    kind: Literal["smb", "directory"]
    """a Windows share, or a folder on this machine"""
    path: Path | None = None
    """directory: where clients.xml is put"""
    server: str | None = None
    """smb: address of the server"""
    server_name: str = ""
    """smb: its NetBIOS name; absent: server"""
    port: Port = 445
    """smb: TCP port"""
    share: str | None = None
    """smb: name of the share"""
    username: str | None = None
    """smb: who logs in"""
    password: SecretStr = SecretStr("")
    """smb: better as credential share_password"""
    domain: str = ""
    """smb: domain or workgroup of the user"""
    dialect: Literal["smb2", "smb3"] = "smb2"
    """"smb2": signed; "smb3": for servers that demand SMB 3 or encryption"""
    remote_path: str = "clients.xml"
    """file that Patriot imports, as seen from the share's root"""
    results_filename: str = "clients_Import_Results.txt"
    """file in which Patriot answers"""
    timeout_s: Seconds = 10.0
    """how long one step on the share may take"""
    results_interval_s: Seconds = 30.0
    """how often the results are read between runs"""

    @field_validator("remote_path", "results_filename")
    @classmethod
    def _plain(cls, value: str) -> str:
        parts = value.replace("\\", "/").split("/")
        # pysmb's deleteFiles expands wildcards: a name that could be a pattern never gets that far.
        if any(part in ("", ".", "..") or set(part) & set('*?"<>|:') for part in parts):
            raise ValueError("must be a plain file name, or folder/name, without wildcards")
        return "/".join(parts)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "directory" and self.path is None:
            raise ValueError('kind = "directory" needs path')
        missing = [key for key in ("server", "share", "username") if self.kind == "smb" and not getattr(self, key)]
        if missing:
            raise ValueError(f'kind = "smb" needs {", ".join(missing)}')
        return self


class Console(Certificate):
    """Web console and agent API."""

    listen: Listen = Listen(host="127.0.0.1", port=8082)
    """where console and agent API are served"""
    token: Annotated[SecretStr, AfterValidator(lambda token: _long_enough(token))] | None = None
    """bearer token and log-in secret; absent: nobody can log in"""
    public_url: HttpUrl | None = None
    """address under which the monitoring centre reaches this console, for picture links in alarms"""
    link_valid_s: Seconds = 3600.0
    """how long a picture link in an alarm works"""


def _long_enough(token: SecretStr) -> SecretStr:
    if len(token.get_secret_value()) < 8:
        raise ValueError("must have at least 8 characters")
    return token


class Metrics(Section):
    """For Prometheus."""

    listen: Listen = Listen(host="0.0.0.0", port=9813)
    """where /metrics, /livez and /readyz are served"""


class MediaStore(Section):
    """Snapshots and videos kept on the box."""

    max_age_s: Seconds = 30 * 86400.0
    """older pictures are removed"""
    max_bytes: Annotated[int, Field(ge=0)] = 5_000_000_000
    """all snapshots and videos together; the oldest go first"""
    max_file_bytes: Annotated[int, Field(ge=1)] = 100_000_000
    """a larger snapshot or video is not kept"""
    min_free_bytes: Annotated[int, Field(ge=0)] = 500_000_000
    """never let the disk get fuller than this with pictures"""


class Retention(Section):
    """How long what has happened is remembered."""

    alarms_s: Annotated[float, Field(ge=86400)] | None = None
    """alarms that every sink has acknowledged, and their audit lines; absent: kept"""
    batches_s: Annotated[float, Field(ge=86400)] = 366 * 86400.0
    """finished batches"""


class Log(Section):
    """The journal and the three log files."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """the least that is logged"""
    max_bytes: Annotated[int, Field(ge=10_000)] = 5_000_000
    """size at which a log file is rotated"""
    keep: Annotated[int, Field(ge=1, le=100)] = 5
    """rotated files kept"""


class Settings(BaseSettings):
    """The whole configuration. Built by `load`; frozen."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    site: Site = Site()
    paths: Paths = Paths()
    log: Log = Log()
    patriot: Patriot = Patriot()
    combine: Combine = Combine()
    share: Share | None = None
    sources: list[SourceSettings] = []
    sinks: list[SinkSettings] = []
    console: Console = Console()
    metrics: Metrics = Metrics()
    media: MediaStore = MediaStore()
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [source.name for source in self.sources]
        problems = _twice("sources", names) + _twice("sinks", [sink.name for sink in self.sinks])
        for sink in self.sinks:
            problems += [
                f'sink "{sink.name}": sources names "{name}", which is not configured'
                for name in sink.sources or []
                if name not in names
            ]
        problems += self._clashes()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _clashes(self) -> list[str]:
        """Two listeners on one port would leave one of them out for good, and only the log would say which."""
        listens = {"patriot": self.patriot.listen, "console": self.console.listen, "metrics": self.metrics.listen}
        return [
            f"{one}.listen and {other}.listen take the same port: {listens[one]} and {listens[other]}"
            for one, other in itertools.combinations(listens, 2)
            if listens[one].overlaps(listens[other])
        ]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load` has merged file, environment and credentials already, so that each fault can name its place."""
        return (init_settings,)


def _twice(table: str, names: list[str]) -> list[str]:
    return [f'{table}: the name "{name}" stands twice' for name in sorted({n for n in names if names.count(n) > 1})]
