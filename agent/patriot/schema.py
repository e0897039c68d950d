"""Request and response bodies of the Patriot client API, and the one way a body becomes a model.

Everything is strict: a number in quotes is no number, 0 is no boolean, null is no text, an unknown field is a fault.
What these models say is the API's description at /docs; the fields' order is the XML's (`row.py`).
"""

import json
import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from agent.patriot.row import INSTALLER_USER_NO, unfit_for_xml

MAX_CLIENT_ID = 9_999_999_999_999_999
MAX_TEXT = 255
MAX_FREE_TEXT = 4000
MAX_COUNT = 9999
MAX_FIELDS = 200
_LONG_MONTHS = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
_SHORT_MONTHS = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
_FEBRUARY = "02-(?:0[1-9]|[12][0-9])"
_DAY = f"(?!0000)[0-9]{{4}}-(?:{_LONG_MONTHS}|{_SHORT_MONTHS}|{_FEBRUARY})"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_DATE = re.compile(rf"{_DAY}(T{_CLOCK}(:[0-5][0-9](\.[0-9]{{1,6}})?)?(Z|[+-]{_CLOCK})?)?")
_DECIMAL = re.compile(r"[1-9][0-9]*")


class BadJson(Exception):
    """A body that is no JSON document this API takes. `loc` is where, below "body"."""

    def __init__(self, message: str, kind: str, loc: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.loc = loc


def parse_json(data: bytes) -> Any:
    """Strict JSON in UTF-8: no name twice in an object, no NaN, no number of thousands of digits. Raises `BadJson`."""
    try:
        text = data.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_table, parse_constant=_no_constant, parse_float=_number)
    except UnicodeDecodeError as error:
        raise BadJson("the body is not UTF-8", "json_invalid", (error.start,)) from None
    except json.JSONDecodeError as error:
        raise BadJson(f"the body is not JSON: {error.msg}", "json_invalid", (error.pos,)) from None
    except RecursionError:
        raise BadJson("the body is nested too deeply", "json_invalid") from None
    except ValueError:  # Python's own limit on the digits of an integer
        raise BadJson("the body holds a number of too many digits", "json_invalid") from None


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A megabyte can hold a hundred thousand unknown fields, and naming each would hold the whole agent up.
    if len(pairs) > MAX_FIELDS:
        raise BadJson(f"an object has more than {MAX_FIELDS} fields", "too_many_fields")
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise BadJson("the field stands twice", "duplicate_field", (name,))
        if unfit_for_xml(name):
            raise BadJson("a field name holds characters that no field has", "json_invalid", (ascii(name),))
        table[name] = value
    return table


def _number(text: str) -> float | int:
    """To JSON, 1.0 is the whole number 1, and some languages write it so. Beyond 2^53 a double is no exact number."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _no_constant(word: str) -> Any:
    raise BadJson(f"{word} is no JSON number", "json_invalid")


def _fit(text: str) -> str:
    unfit = unfit_for_xml(text)
    if unfit:
        raise PydanticCustomError("text_not_xml", "holds {character}, which XML cannot carry", {"character": unfit})
    return text


def _iso_date(text: str) -> str:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError(
            "date_not_iso", 'must be an ISO 8601 date or date and time, such as "2023-02-20"'
        ) from None
    return text


def _signal_monitoring(value: Any) -> int | str:
    if value == "None" or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT):
        return value  # type: ignore[no-any-return]
    raise PydanticCustomError("int_or_none_word", f'must be an integer from 0 to {MAX_COUNT} or the text "None"')


def _not_installer(number: int) -> int:
    if number == INSTALLER_USER_NO:
        raise PydanticCustomError("user_reserved", f"user number {INSTALLER_USER_NO} belongs to the installer")
    return number


def _decimal(text: Any) -> Any:
    """Header values are texts: plain decimal digits only, since 7 and 0007 would be two clients to Patriot."""
    if isinstance(text, str):
        if not _DECIMAL.fullmatch(text) or len(text) > 16:
            raise PydanticCustomError("int_parsing", "must be a whole number in decimal digits, without leading zeros")
        return int(text)
    return text


# What `unfit_for_xml` takes, for the description; surrogates cannot be named there and are no characters anyway.
_CARRIED = {"pattern": r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]*$"}

Text = Annotated[str, Field(max_length=MAX_TEXT, json_schema_extra=_CARRIED), AfterValidator(_fit)]
NameText = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, json_schema_extra=_CARRIED), AfterValidator(_fit)]
FreeText = Annotated[str, Field(max_length=MAX_FREE_TEXT, json_schema_extra=_CARRIED), AfterValidator(_fit)]
Days = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Hours = Annotated[int, Field(ge=0, le=23)]
Minutes = Annotated[int, Field(ge=0, le=59)]
Order = Annotated[int, Field(ge=0, le=MAX_COUNT)]
IsoDate = Annotated[
    str,
    Field(max_length=40),
    AfterValidator(_iso_date),
    WithJsonSchema({"type": "string", "pattern": f"^{_DATE.pattern}$"}),
]
SignalMonitoring = Annotated[
    Any,
    PlainValidator(_signal_monitoring),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": MAX_COUNT}, {"const": "None"}]}),
]
ClientId = Annotated[
    int,
    Field(
        ge=1, le=MAX_CLIENT_ID, description="The client's number: 1 to 16 digits, not 0. Yours alone.", examples=[9998]
    ),
]
ZoneNo = Annotated[int, Field(ge=1, le=999, description="The zone's number, unique within the client.", examples=[1])]
UserNo = Annotated[int, Field(ge=1, le=999, description="The user's number, unique within the client.", examples=[1])]
WrittenUserNo = Annotated[
    int,
    Field(
        ge=1,
        le=999,
        description="The user's number, unique within the client. 199 belongs to the installer and is refused.",
        examples=[1],
        json_schema_extra={"not": {"const": INSTALLER_USER_NO}},
    ),
    AfterValidator(_not_installer),
]
HeaderClientId = Annotated[int, Field(ge=1, le=MAX_CLIENT_ID, strict=True), BeforeValidator(_decimal)]
HeaderUserNo = Annotated[int, Field(ge=1, le=999, strict=True), BeforeValidator(_decimal)]


_ZONE = {"Zone_No": 1, "Zone_area": "Inngang", "ModuleNo": 0}
_USER = {
    "User_Name": "User Number 1",
    "MobileNo": "+4712345678",
    "MobileNoOrder": 1,
    "Email": "user@email.com",
    "Type": "U",
    "UserNo": 1,
    "Instructions": "Optional",
    "CallOrder": 0,
}


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, hide_input_in_errors=True, field_title_generator=lambda name, info: name
    )


def _absent() -> None:
    return None


def _optional(description: str, example: Any) -> Any:
    """A field without a default: left out, it is absent from the XML too. A null is a fault."""
    return Field(default_factory=_absent, description=description, examples=[example])


class InfoChange(_Body):
    """Any of the info fields. One that is left out stays as it is."""

    Name: NameText = _optional("The client's name.", "Ola Nordmann")
    Alias: Text = _optional("Radio alias.", "")
    Location: Text = _optional("Street address.", "Produksjonsveien 13")
    area_code: Text = _optional("Postcode.", "1604")
    area: Text = _optional("Town.", "Fredrikstad")
    BusPhone: Text = _optional(
        "The site's phone. Without spaces, if the central office's dialler is to use it.", "69310000"
    )
    Email: Text = _optional("E-mail address; several are split by a semicolon.", "post@ostsik.no")
    OKPassword: Text = _optional("The pass-word that calls an alarm off.", "franzjager")
    SpecRequest: FreeText = _optional("What is to be done at an alarm.", "Dette skal gjøres ved alarm på denne kunden.")
    NoSigsMon: SignalMonitoring = _optional('Monitoring for missing signals: a number of Patriot\'s, or "None".', 1)
    SinceDays: Days = _optional("Raise an alarm when silent for so many days,", 1)
    SinceHrs: Hours = _optional("… hours", 0)
    SinceMins: Minutes = _optional("… and minutes.", 30)
    ResetNosigsIgnored: bool = _optional("Whether an alarm of silence that was ignored is raised again.", True)
    ResetNosigsDays: Days = _optional("Raise it again after so many days,", 7)
    ResetNosigsHrs: Hours = _optional("… hours", 0)
    ResetNosigsMins: Minutes = _optional("… and minutes.", 0)
    InstallDateTime: IsoDate = _optional("When it was installed: an ISO 8601 date, or date and time.", "2023-02-20")
    PanelName: Text = _optional("Make or model of the panel.", "Ajax")
    PanelSite: Text = _optional("Where the panel is.", "Stue")
    KeypadLocation: Text = _optional("Where the keypad is.", "Inngang")
    SPPage: FreeText = _optional("Anything else worth knowing.", "Ekstra informasjon som kan være relevant.")


class Info(InfoChange):
    """What is known of a client. `Name` alone is required; a field that is left out is absent from the XML."""

    Name: NameText = Field(description="The client's name.", examples=["Ola Nordmann"])


class Zone(_Body):
    Zone_No: ZoneNo
    Zone_area: Text = Field(description="What the zone is called.", examples=["Inngang"])
    ModuleNo: Order = Field(default=0, description="The panel's module.", examples=[0])


class User(_Body):
    User_Name: NameText = Field(
        description="The user's name. Patriot knows a person by name and e-mail: equal ones become one person.",
        examples=["User Number 1"],
    )
    MobileNo: Text = _optional("Mobile phone.", "+4712345678")
    MobileNoOrder: Order = _optional("Place of the mobile phone among the user's phones.", 1)
    Email: Text = _optional("E-mail address; several are split by a semicolon.", "user@email.com")
    Type: Text = Field(default="U", description="Patriot's type of user; U is an ordinary one.", examples=["U"])
    UserNo: WrittenUserNo
    Instructions: FreeText = _optional("What the operator should know about this user.", "Optional")
    CallOrder: Order = Field(default=0, description="Place on the call list; 0: not on it.", examples=[0])


class ClientPut(_Body):
    client_id: ClientId
    info: Info


class ClientPatch(_Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"client_id": 9998, "info": {"Location": "Ny gate 99"}}]})

    client_id: ClientId
    info: InfoChange


class ClientOnly(_Body):
    client_id: ClientId


class ZonePut(_Body):
    client_id: ClientId
    zone_id: ZoneNo
    Zone_area: Text = Field(description="What the zone is called.", examples=["Inngang"])
    ModuleNo: Order = Field(default=0, description="The panel's module.", examples=[0])


class ZoneOnly(_Body):
    client_id: ClientId
    zone_id: ZoneNo


class UserWrite(_Body):
    client_id: ClientId
    user: User


class UserOnly(_Body):
    client_id: ClientId
    user_no: UserNo


class ClientAnswer(_Body):
    client_id: ClientId
    info: Info
    zones: dict[str, Zone] = Field(description="The zones by their number.", examples=[{"1": _ZONE}])
    users: dict[str, User] = Field(
        description="The users by their number; never the installer's.", examples=[{"1": _USER}]
    )


class ZonesAnswer(_Body):
    client_id: ClientId
    zones: list[Zone]


class ZoneAnswer(_Body):
    client_id: ClientId
    zone: Zone


class UsersAnswer(_Body):
    client_id: ClientId
    users: list[User]


class UserAnswer(_Body):
    client_id: ClientId
    user: User


class ImportAnswer(_Body):
    client_id: ClientId
    import_id: str = Field(
        description="The client's number at Patriot: client_id and your key's port.", examples=["9998BASE11"]
    )
    status: Literal["new", "pending_import", "imported", "import_failed"] = Field(
        description="new: not sent yet. pending_import: lies on the central office's share. imported: Patriot has this "
        "very revision. import_failed: Patriot refused it, detail says why.",
        examples=["imported"],
    )
    last_batch: str | None = Field(description="When it was last sent, UTC.", examples=["2025-01-01T11:59:00.000Z"])
    detail: str = Field(description="Patriot's own words, where there are any.", examples=[""])


class Fault(_Body):
    loc: list[str | int] = Field(
        description="Where: body or header, then the field.", examples=[["body", "info", "Name"]]
    )
    msg: str = Field(description="What is wrong, for people.", examples=["Field required"])
    type: str = Field(description="What is wrong, for programs.", examples=["missing"])


class Faults(_Body):
    """Every fault of the request with its place."""

    detail: list[Fault]


class Problem(_Body):
    detail: str = Field(description="What is wrong, in a sentence.")
