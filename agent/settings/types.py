"""Field types that several settings share."""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_serializer, model_validator


class Section(BaseModel):
    """A table of agent.toml: unknown keys are errors, values never change, a bad value is never printed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Listen(BaseModel):
    """`host:port`, `[v6]:port`; port 0 takes a free one."""

    model_config = ConfigDict(frozen=True)
    host: str
    port: int = Field(ge=0, le=65535)

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        host, colon, port = value.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535 or not host.strip("[]"):
            raise ValueError('must be "address:port", for instance "127.0.0.1:8082"')
        return {"host": host.strip("[]"), "port": int(port)}

    @model_serializer
    def _text(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def overlaps(self, other: "Listen") -> bool:
        """Whether both cannot be bound at once. Port 0 takes a free one; `::` takes the addresses of IPv4 too."""
        hosts = {self.host, other.host}
        everything = "::" in hosts or ("0.0.0.0" in hosts and not any(":" in host for host in hosts))
        return self.port == other.port != 0 and (self.host == other.host or everything)

    @property
    def is_loopback(self) -> bool:
        return self.host in ("127.0.0.1", "localhost", "::1")


class ZoneAt(BaseModel):
    """A zone that belongs to another client than the source's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    account: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{3,16}$")]
    zone: int = Field(ge=0, le=999)


def _http_url(value: Any) -> Any:
    if isinstance(value, str):
        if not re.match(r"^https?://[^\s/@]+", value):
            raise ValueError('must begin with "http://" or "https://", without user and password')
        # A url may stand with or without the vendor's API path; each client adds its own.
        return re.sub(r"/api/(rest/)?v\d+/?$", "", value.rstrip("/"), flags=re.IGNORECASE)
    return value


HttpUrl = Annotated[str, BeforeValidator(_http_url)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Account = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{3,16}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86400)]


class Certificate(Section):
    """Certificate and key belong together."""

    tls_certificate: Path | None = None
    """PEM file with the certificate chain; absent: plain HTTP"""
    tls_key: Path | None = None
    """PEM file with the key of the certificate"""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key are set together")
        return self
