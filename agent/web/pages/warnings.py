"""Health's warnings in the reader's language: by their code, since the words of the agent itself are English."""

import re
from dataclasses import dataclass

from agent.health import Warning
from agent.web.pages.frame import Frame
from agent.web.words import CATALOGUE

_CODES = (
    (re.compile(r"source-(?P<name>.+)-down"), "source-down"),
    (re.compile(r"sink-(?P<name>.+)-down"), "sink-down"),
    (re.compile(r"sink-(?P<name>.+)-kept"), "sink-kept"),
    (re.compile(r"sink-(?P<name>.+)-standby"), "sink-standby"),
    (re.compile(r"sink-(?P<name>.+)-rejected"), "sink-rejected"),
    (re.compile(r"share-down"), "share-down"),
    (re.compile(r"keys-file"), "keys-file"),
    (re.compile(r"service-(?P<name>.+)"), "service"),
)
_STEPS = {text: key for key, text in CATALOGUE["en"].items() if key.startswith("next.")}


@dataclass(frozen=True, slots=True)
class Told:
    """`text` is the agent's own words, in English whatever the page's language; `next_step` where it is not known."""

    code: str
    severity: str
    title: str
    text: str
    next_step: str
    clears_when: str
    next_language: str


def tell(frame: Frame, warning: Warning) -> Told:
    title, clears = warning.title, warning.clears_when
    for pattern, key in _CODES:
        found = pattern.fullmatch(warning.code)
        if found and frame.language != "en":
            title = frame.t(f"warning.{key}.title", name=found.groupdict().get("name", ""))
            clears = frame.t(f"warning.{key}.clears")
            break
    key_of_step = _STEPS.get(warning.next_step)
    step = frame.t(key_of_step) if key_of_step else warning.next_step
    language = frame.language if key_of_step else "en"
    return Told(warning.code, warning.severity, title, warning.text, step, clears, language)
