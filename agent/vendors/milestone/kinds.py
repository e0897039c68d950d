"""What kind of alarm an XProtect alarm is.

Facts. An alarm has no machine-readable kind. `legacyType` ("Analytics", …) names the machinery that raised it, not
what happened; `message` is the event's own text, most often one of XProtect's or an analytics maker's standard
names; `name` is the alarm definition's, written by the installer. Decision: words decide, the message's before the
name's, in the order of the table; the first that is found counts. Without a telling word it is `other`, which the
receiver shows as an alarm without a type: a wrong type sends the wrong people.
"""

import re

from agent.alarms.model import Kind
from agent.vendors.milestone.records import AlarmRecord

TABLE: tuple[tuple[Kind, str], ...] = (
    # XProtect's own system events. "Communication Started" before "communication", or a return would be a loss.
    (Kind.CAMERA_RESTORED, r"communication started|connection restored|signal restored|camera (is )?back"),
    (Kind.CAMERA_LOST, r"communication (error|stopped)|not responding|connection lost|signal lost|video loss"),
    # Sabotage before everything that a covered camera may also report.
    (Kind.TAMPER, r"tamper\w*|sabot\w*|camera (covered|moved|blinded|obstructed)|scene change|defocus\w*"),
    (Kind.DOOR_FORCED, r"door forced|forced (door|open)"),
    (Kind.ACCESS_DENIED, r"access denied"),
    (Kind.ACCESS_GRANTED, r"access granted"),
    # What was seen: a person or a vehicle says more than the line that it crossed.
    (Kind.PERSON, r"persons?|people|humans?|pedestrians?|personer"),
    (Kind.VEHICLE, r"vehicles?|cars?|trucks?|licen[cs]e plate|number plate|kjøretøy"),
    # Analytics that guard a perimeter.
    (Kind.INTRUSION, r"intru\w*|lines? cross\w*|cross\w* lines?|trip ?wire|perimeter|loiter\w*|trespass\w*|innbrudd"),
    (Kind.INTRUSION, r"(zone|area|field) (enter\w*|entry|breach)|(enter\w*|entry into) (zone|area|field)"),
    (Kind.MOVEMENT, r"motion|movement|bevegelse"),
    (Kind.EXTERNAL_TRIGGER, r"input (activated|triggered|event)|external event|panic|button"),
    (Kind.LOW_BATTERY, r"battery"),
    (Kind.POWER, r"power (failure|lost|loss)|mains"),
    (Kind.ENVIRONMENT, r"temperature|humidity|smoke|fire alarm|flood\w*|water (leak|level|alarm)"),
    (Kind.SYSTEM, r"(disk|storage|database) (full|failure|error)|(archive|server|recording) (failed|failure|stopped)"),
)
_PATTERNS = tuple((kind, re.compile(rf"\b(?:{words})\b", re.IGNORECASE)) for kind, words in TABLE)


def kind_of(record: AlarmRecord) -> Kind:
    for text in (record.message, record.name):
        for kind, pattern in _PATTERNS:
            if pattern.search(text):
                return kind
    return Kind.OTHER
