"""Every word of the console in every language. A test sees to it that each has all of them, with the same blanks.

What comes from a device, a receiver, Patriot or the log stays in the words it came in.
"""

from collections.abc import Callable, Mapping
from typing import Any

from agent.web.words.english import ENGLISH
from agent.web.words.norwegian import NORWEGIAN

CATALOGUE: Mapping[str, Mapping[str, str]] = {"en": ENGLISH, "nb": NORWEGIAN}
NAMES = {"en": "English", "nb": "Norsk"}
DEFAULT = "en"
# Browsers ask for Norwegian as nb, no or nn; a reader of nynorsk is better served by bokmål than by English.
_SAME = {"no": "nb", "nn": "nb"}

Translate = Callable[..., str]


def translator(language: str) -> Translate:
    """`t("key", name=…)` → the text with its blanks filled in; an unknown key is a defect and raises KeyError."""
    words = CATALOGUE[language]

    def translate(key: str, /, **blanks: Any) -> str:
        return words[key].format(**blanks) if blanks else words[key]

    return translate


def accepted(header: str) -> str:
    """The language an `Accept-Language` header likes best of those there are."""
    best, best_weight = DEFAULT, 0.0
    for part in header[:500].split(","):
        tag, _, parameter = part.strip().partition(";")
        primary = tag.strip().lower().split("-")[0]
        language = _SAME.get(primary, primary)
        weight = _weight(parameter)
        if language in CATALOGUE and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
