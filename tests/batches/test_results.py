"""The results file: any encoding, whole tokens, and what is new since a file lay on the share."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.patriot.results import Seen, Verdict, news, seen, verdicts

TEXT = "Import startet æøå\r\n9998BASE11 Completed processing client\r\n1234BASE05 Ugyldig felt: Påkrevd\r\n"
IDS = ["9998BASE11", "1234BASE05", "7BASE11"]


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("cp1252"),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.replace("\r\n", "\n").encode(),
        TEXT.replace("\r\n", "\r").encode(),
        TEXT.rstrip().encode("utf-16"),
    ],
)
def test_any_encoding_and_line_end(data):
    assert verdicts(news(data, 1.0, Seen()), IDS) == {
        "9998BASE11": Verdict(True),
        "1234BASE05": Verdict(False, "1234BASE05 Ugyldig felt: Påkrevd"),
    }


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("9998BASE11 Completed processing client", {"9998BASE11"}),
        ("client (9998BASE11): completed PROCESSING client.", {"9998BASE11"}),
        ('"9998BASE11";"Completed processing client"', {"9998BASE11"}),
        ("Completed processing client 9998BASE11", {"9998BASE11"}),
        ("998BASE11 Completed processing client", set()),
        ("9998BASE111 Completed processing client", set()),
        ("99998BASE11 Completed processing client", set()),
        ("X9998BASE11 Completed processing client", set()),
        ("9998BASE11_2 Completed processing client", set()),
        ("Ø9998BASE11 Completed processing client", set()),
        ("Completed processing client", set()),
    ],
)
def test_an_id_is_a_whole_word(line, named):
    assert {name for name, verdict in verdicts(line, ["9998BASE11"]).items() if verdict.imported} == named


def test_the_phrase_counts_only_on_the_line_of_the_id():
    found = verdicts("9998BASE11 rejected\r\nCompleted processing client\r\n", ["9998BASE11"])
    assert found == {"9998BASE11": Verdict(False, "9998BASE11 rejected")}


def test_a_success_line_wins_over_other_lines_about_the_id():
    text = "9998BASE11 processing\n9998BASE11 Completed processing client\n9998BASE11 2 zones\n"
    assert verdicts(text, ["9998BASE11"]) == {"9998BASE11": Verdict(True)}


def test_failure_words_are_verbatim_and_bounded():
    found = verdicts("  9998BASE11 : Zone 4 <bad> & worse \n9998BASE11 again\n" + "9998BASE11 x" * 9999, ["9998BASE11"])
    assert found["9998BASE11"].words.startswith("9998BASE11 : Zone 4 <bad> & worse\n9998BASE11 again\n")
    assert len(found["9998BASE11"].words) == 2000


def test_ids_with_signs_in_them():
    found = verdicts("1-BASE.1 Completed processing client\n1 fails\n", ["1-BASE.1", "1", "BASE"])
    assert found == {"1-BASE.1": Verdict(True), "1": Verdict(False, "1 fails")}


OLD = b"1BASE11 Completed processing client\r\n"


@pytest.mark.parametrize(
    ("content", "modified", "expected"),
    [
        (OLD, 5.0, ""),
        (OLD, 6.0, OLD.decode()),  # the same bytes written anew
        (OLD + b"2BASE11 fails\r\n", 6.0, "2BASE11 fails\r\n"),
        (b"2BASE11 fails\r\n", 6.0, "2BASE11 fails\r\n"),
        (b"", 6.0, ""),
        (b"X" + OLD, 6.0, "X" + OLD.decode()),
    ],
)
def test_what_is_new(content, modified, expected):
    assert news(content, modified, seen(OLD, 5.0)) == expected


def test_a_line_that_was_cut_is_read_whole_when_it_is_finished():
    before = seen("1BASE11 ok\r\n2BASE11 Compl".encode("utf-16"), 5.0)
    now = "1BASE11 ok\r\n2BASE11 Completed processing client\r\n".encode("utf-16")
    assert news(now, 6.0, before) == "2BASE11 Completed processing client\r\n"


def test_half_a_character_appended_is_no_news():
    old = "9998BASE11 Completed".encode("utf-16")
    assert news(old + b"x", 2.0, seen(old, 1.0)) == ""


def test_half_a_character_at_the_end_is_left_out():
    assert news("1BASE11 æ".encode()[:-1], 1.0, Seen()) == "1BASE11 "
    assert news("1BASE11 æ".encode("utf-16")[:-1], 1.0, Seen()) == "1BASE11 "


@given(st.binary(), st.binary(), st.lists(st.text(min_size=1), max_size=4))
def test_nothing_makes_it_fail(old, more, ids):
    for content in (old, old + more, more):
        assert set(verdicts(news(content, 2.0, seen(old, 1.0)), ids)) <= set(ids)


@given(st.lists(st.text("19AB\u00e6 ", max_size=12)), st.lists(st.text("19AB\u00e6 ", max_size=12)))
def test_what_is_appended_is_what_is_new(old, more):
    before = "".join(f"{line}\r\n" for line in old)
    after = "".join(f"{line}\r\n" for line in more)
    for encoding in ("utf-8", "utf-16-le"):
        if "9" in before:  # enough to tell the encoding
            mark = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else b""
            content = mark + (before + after).encode(encoding)
            fresh = news(content, 2.0 if more else 1.0, seen(mark + before.encode(encoding), 1.0))
            assert fresh == after
