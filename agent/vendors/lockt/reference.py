"""The reference as a table: every endpoint, what it takes and what it gives.

`Read` is a GET, `Write` a POST, PUT or DELETE of records under a node, `Command` a POST without records. The client
has one method for each of the three, typed by the row it is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from agent.vendors.lockt import models
from agent.vendors.lockt.contradictions import sent_option

Received = TypeVar("Received", bound=models.Record)
Sent = TypeVar("Sent", bound=models.Sendable)

MAX_RECORDS = 100
"""Records a POST may carry by default; a customer's own limit is learnt from its refusal."""


class Parameter(Enum):
    NUMBER = "a whole number"
    TEXT = "a text that is not blank"
    SWITCH = "a bare name"  # ?missingcreds


@dataclass(frozen=True, slots=True)
class Read(Generic[Received]):
    path: str
    model: type[Received]
    filters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Write(Generic[Sent]):
    """`node` holds the records in the body; `options` are the processing options it knows; `per_call` is its limit."""

    method: str
    path: str
    node: str
    record: type[Sent]
    options: frozenset[str] = frozenset()
    per_call: int = MAX_RECORDS


@dataclass(frozen=True, slots=True)
class Command:
    path: str
    parameter: str
    kind: Parameter


@dataclass(frozen=True, slots=True)
class Options:
    """Processing options, with the defaults that Lockt applies to what is not sent.

    `validate_fails_batch`: one invalid record fails its whole block; otherwise the valid ones are written.
    `update_existing`: records of existing users update them; otherwise they are ignored.
    `replace_privileges`: access levels replace the user's own; otherwise they are added.
    """

    validate_fails_batch: bool = True
    update_existing: bool = False
    replace_privileges: bool = True

    def body(self, known: frozenset[str]) -> dict[str, str]:
        """Every option that the endpoint knows, said outright rather than left to a default that may change."""
        return {name: sent_option(getattr(self, name)) for name in sorted(known)}


_VALIDATE = frozenset({"validate_fails_batch"})
_PRIVILEGES = _VALIDATE | {"replace_privileges"}
_NUMBER, _TEXT, _SWITCH = Parameter.NUMBER, Parameter.TEXT, Parameter.SWITCH

ACCESS_LEVELS = Read("accesslevel", models.AccessLevel, {"name": _TEXT})
CREDENTIALS = Read("credential", models.Credential, {"user_id": _NUMBER, "card_num": _TEXT, "id": _NUMBER})
CREDENTIAL_SUMMARY = Read("credentialsummary", models.CredentialSummary)
DELEGATES = Read("delegate", models.Delegate)
DOORS = Read("door", models.Door, {"user_id": _NUMBER, "id_num": _TEXT})
DOOR_STATES = Read("doorstate", models.DoorState, {"low_battery": _NUMBER})
EVENTS = Read("events", models.Event, {"id": _NUMBER})
FOBS = Read("fob", models.Fob, {"id": _NUMBER, "id_num": _TEXT, "card_num": _TEXT, "name": _TEXT})
LOCATIONS = Read("location", models.Location)
LOCATION_TYPES = Read("locationtype", models.LocationType)
SCHEDULES = Read("schedule", models.Schedule)
USERS = Read(
    "user",
    models.User,
    {"id": _NUMBER, "id_num": _TEXT, "missingcreds": _SWITCH, "privileged": _SWITCH, "installers": _SWITCH},
)
ABOUT = Read("about", models.About)
MAINTENANCE = Read("maintenance", models.Record)
OBJECT_TYPES = Read("object", models.ObjectType, {"listtypes": _SWITCH})
OBJECT_PROPERTIES = Read("object", models.Property, {"type": _TEXT})
PING = Read("ping", models.Record)
SETTINGS = Read("settings", models.Record)
SITE = Read("site", models.Record)
TIME = Read("time", models.SystemTime)

CREATE_ACCESS_LEVELS = Write("POST", "accesslevel", "accesslevels", models.NewAccessLevel, _VALIDATE)
DELETE_ACCESS_LEVELS = Write("DELETE", "accesslevel", "accesslevels", models.Reference, _VALIDATE)
UPDATE_CREDENTIALS = Write("PUT", "credential", "credentials", models.CredentialUpdate, _VALIDATE)
DELETE_CREDENTIALS = Write("DELETE", "credential", "credentials", models.Reference, _VALIDATE)
CREATE_DELEGATE = Write("POST", "delegate", "delegates", models.NewDelegate, per_call=1)
CREATE_DOORS = Write("POST", "door", "doors", models.NewDoor, _VALIDATE)
DELETE_DOORS = Write("DELETE", "door", "doors", models.Reference, _VALIDATE)
CREATE_FOBS = Write("POST", "fob", "fobs", models.NewFob)
REASSIGN_FOBS = Write("PUT", "fob", "fobs", models.FobAssignment)
DELETE_FOBS = Write("DELETE", "fob", "fobs", models.Reference, _VALIDATE)
CREATE_LOCATIONS = Write("POST", "location", "locations", models.NewLocation, _VALIDATE)
UNLOCK_DOORS = Write("POST", "unlock", "doors", models.Reference, _VALIDATE)
CREATE_USERS = Write("POST", "user", "users", models.NewUser, _PRIVILEGES | {"update_existing"})
UPDATE_USER = Write("PUT", "user", "users", models.UserUpdate, _PRIVILEGES, per_call=1)
DELETE_USERS = Write("DELETE", "user", "users", models.Reference, _VALIDATE)

PURGE_DELEGATES = Command("delegate", "purge", _SWITCH)
ANONYMIZE_USER = Command("anonymize", "user_id", _NUMBER)
# Known from the release notes alone, which say that it takes a threshold and nothing of its form.
EMAIL_LOW_BATTERY = Command("doorstate", "lowbattery", _NUMBER)
