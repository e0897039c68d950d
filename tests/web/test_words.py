"""Every language has every word, with the same blanks."""

import re
from pathlib import Path
from string import Formatter

import pytest

import agent.web
from agent import health
from agent.alarms.model import Evidence, Kind
from agent.patriot import views
from agent.web import words


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", list(words.CATALOGUE))
def test_each_language_has_every_word(language: str) -> None:
    english, other = words.CATALOGUE["en"], words.CATALOGUE[language]
    assert set(other) == set(english)
    assert {key for key in english if blanks(english[key]) != blanks(other[key])} == set()
    assert all(text.strip() for text in other.values())


def test_every_word_that_the_templates_ask_for_is_there() -> None:
    place = Path(agent.web.__file__).parent
    sources = [*place.glob("templates/*.html"), *place.glob("pages/*.py")]
    pattern = re.compile(r"""\b(?:t|th|marked_up)\(\s*['"]([a-z_]+(?:\.[a-z_0-9]+)*)['"]\s*[,)]""")
    asked = {key for source in sources for key in pattern.findall(source.read_text())}
    assert len(asked) > 100
    assert asked - set(words.CATALOGUE["en"]) == set()


def test_every_word_of_the_domain_has_its_word() -> None:
    keys = set(words.CATALOGUE["en"])
    assert {f"kind.{kind.value}" for kind in Kind} <= keys
    assert {f"clients.state.{state}" for state in views.STATES} <= keys
    for medium in ("picture", "video", "snapshot"):
        assert {f"{medium}.{state.value}" for state in Evidence if state is not Evidence.READY} <= keys


def test_what_health_tells_to_do_next_is_known_word_for_word() -> None:
    english = {key: text for key, text in words.CATALOGUE["en"].items() if key.startswith("next.")}
    assert {f"next.{fault.value}": text for fault, text in health.NEXT_STEPS.items()}.items() <= english.items()
    source = Path(health.__file__).read_text()
    assert all(f'"{text}"' in source for text in english.values())


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("nb-NO,nb;q=0.9,en;q=0.8", "nb"),
        ("no", "nb"),
        ("nn-NO", "nb"),
        ("en-GB,nb;q=0.5", "en"),
        ("en;q=0.3, nb;q=0.4", "nb"),
        ("de, fr", "en"),
        ("", "en"),
        ("nb;q=x", "en"),
        (";;;,,,", "en"),
        ("nb;q=0", "en"),
    ],
)
def test_the_browsers_wish_decides(header: str, language: str) -> None:
    assert words.accepted(header) == language
