"""The records of the reference, typed: what is received, and what is sent.

Received records are read leniently: only the id of a numbered record must be there, and every record keeps the
vendor's object as `raw`. Records to be sent are strict.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from agent.vendors.lockt.contradictions import settled
from agent.vendors.lockt.values import Flag, Id, LocalTime, NumberOrNone, Text, Time, WholeOrNone


class Record(BaseModel):
    """A received record; `raw` is the vendor's object as received, for what no field names."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)
    raw: dict[str, Any] = Field(default_factory=dict, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _settle(cls, value: Any) -> Any:
        return {**settled(value), "raw": value} if isinstance(value, dict) else value


def _only_objects(value: Any) -> Any:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _object_or_none(value: Any) -> Any:
    return value if isinstance(value, dict) else None


class Named(Record):
    """An abbreviated object: a door in an access level, an access level of a user, a user of a credential."""

    id: WholeOrNone = None
    name: Text = ""
    schedule_id: WholeOrNone = None


Names = Annotated[tuple[Named, ...], BeforeValidator(_only_objects)]


class AccessLevel(Record):
    id: Id
    name: Text = ""
    doors: Names = ()


class Delegate(AccessLevel):
    access_effective: Time = None
    access_expires: Time = None


class Credential(Record):
    id: Id
    card_num: Text = ""
    name: Text = ""
    credential_key: Text = Field(default="", repr=False)
    claim_status: Text = ""
    user: Annotated[Named | None, BeforeValidator(_object_or_none)] = None
    fob: Flag = False
    access_effective: Time = None
    access_expires: Time = None


class CredentialSummary(Record):
    credentials: WholeOrNone = None
    claimed: WholeOrNone = None
    unclaimed: WholeOrNone = None


class Door(Record):
    id: Id
    type: Text = ""
    name: Text = ""
    location: Text = ""
    enabled: Flag = False
    controller: Text = ""


class DoorState(Record):
    """`battery_level` is None where the door has no battery, or its level is no number."""

    id: Id
    name: Text = ""
    battery_level: NumberOrNone = None


class Event(Record):
    """`event_time` is the lock's clock, `db_time` the cloud's; hours lie between them after an offline lock."""

    id: Id
    device: Text = ""
    code: WholeOrNone = None
    code_text: Text = ""
    subcode: WholeOrNone = None
    subcode_text: Text = ""
    schedule: Text = ""
    controller: Text = ""
    location: Text = ""
    card_num: Text = ""
    user: Text = ""
    category: WholeOrNone = None
    category_text: Text = ""
    event_time: Time = None
    db_time: Time = None


class Fob(Record):
    id: Id
    id_num: Text = ""
    name: Text = ""
    card_num: Text = ""
    credential_key: Text = Field(default="", repr=False)
    enabled: Flag = False
    access_effective: Time = None
    access_expires: Time = None
    accesslevels: Names = ()


class Location(Record):
    id: Id
    name: Text = ""
    type: Text = ""
    enabled: Flag = False


class LocationType(Record):
    id: Id
    name: Text = ""


class Schedule(Record):
    """`d0` is typically Monday; `start` and `stop` are HH:MM:SS."""

    id: Id
    name: Text = ""
    d0: Flag = False
    d1: Flag = False
    d2: Flag = False
    d3: Flag = False
    d4: Flag = False
    d5: Flag = False
    d6: Flag = False
    start: Text = ""
    stop: Text = ""

    @property
    def days(self) -> str:
        """The days as digits, 0 typically being Monday: "01234"."""
        flags = (self.d0, self.d1, self.d2, self.d3, self.d4, self.d5, self.d6)
        return "".join(str(day) for day, included in enumerate(flags) if included)


class User(Record):
    """A card holder. Some lists give `name`, others `first_name` and `last_name`."""

    id: Id
    id_num: Text = ""
    first_name: Text = ""
    last_name: Text = ""
    name: Text = ""
    card_num: Text = ""
    pin: Text = Field(default="", repr=False)
    credential_key: Text = Field(default="", repr=False)
    email: Text = ""
    phone: Text = ""
    enabled: Flag = False
    access_effective: Time = None
    access_expires: Time = None
    accesslevels: Names = ()
    credentials: Annotated[tuple[Credential, ...], BeforeValidator(_only_objects)] = ()
    custom1: Text = ""
    custom2: Text = ""
    custom3: Text = ""
    custom4: Text = ""

    @property
    def full_name(self) -> str:
        return self.name or ", ".join(part for part in (self.last_name, self.first_name) if part)


class About(Record):
    version: Text = ""
    release_date: Text = ""
    release_notes: Text = ""
    release_details: Text = ""


class ObjectType(Record):
    object: Text = ""


class Property(Record):
    property: Text = ""
    datatype: Text = ""
    description: Text = ""


class SystemTime(Record):
    """The system's clock; `timezone` is an IANA name, `offset` hours from UTC."""

    datetime_utc: Time = None
    timezone: Text = ""
    datetime_local: Time = None
    offset: NumberOrNone = None


class Unlocked(Record):
    """The outcome of a momentary unlock; only `unlocked` says that the door is open."""

    id: WholeOrNone = None
    name: Text = ""
    unlocked: Flag = False
    status: Text = ""
    errors: Annotated[tuple[Text, ...], BeforeValidator(lambda value: value if isinstance(value, list) else [])] = ()


class Sendable(BaseModel):
    """A record to be sent; only what was given goes out, since a property that is sent is a property that is set."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def body(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class Reference(Sendable):
    """A record named by its id alone: what is deleted, unlocked, or given to a user."""

    id: Id


class DoorOnSchedule(Sendable):
    id: int
    schedule_id: int


class NewAccessLevel(Sendable):
    name: str
    doors: tuple[DoorOnSchedule, ...]


class CredentialUpdate(Sendable):
    """The reference names no fields beyond "a limited number"; these are the ones that a credential shows."""

    id: Id
    name: str = ""
    card_num: str = ""
    access_effective: LocalTime = ""
    access_expires: LocalTime = ""


class NewDelegate(Sendable):
    from_user_id: int
    to_user_id: int
    access_effective: LocalTime
    access_expires: LocalTime
    doors: tuple[Reference, ...]


class NewDoor(Sendable):
    name: str
    location_id: int = 0


class NewFob(Sendable):
    name: str
    id_num: str
    card_num: str
    access_effective: LocalTime = ""
    access_expires: LocalTime = ""


class FobAssignment(Sendable):
    """`user_id` 0 takes the fob away from whoever holds it."""

    id: Id
    user_id: int
    access_effective: LocalTime = ""
    access_expires: LocalTime = ""


class NewLocation(Sendable):
    name: str
    locationtype: int


class UserUpdate(Sendable):
    """A selective update: what is not given stays. `card_num` "-1" removes every credential that is no fob; an empty
    `accesslevels` with `replace_privileges` removes them all.
    """

    id: Id
    card_num: str = ""
    access_effective: LocalTime = ""
    access_expires: LocalTime = ""
    enabled: bool = True
    accesslevels: tuple[Reference, ...] = ()
    custom1: str = ""
    custom2: str = ""
    custom3: str = ""
    custom4: str = ""


class NewUser(UserUpdate):
    """A whole user: `id` -1 inserts, the id of an existing one updates it (with `update_existing`)."""

    id: Id = -1
    id_num: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    phone: str = ""
    pin: str = ""

    def body(self) -> dict[str, Any]:
        return {"id": self.id, **super().body()}
