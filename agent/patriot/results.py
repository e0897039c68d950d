"""The results file that Patriot writes beside `clients.xml`. Pure.

Known of it: a client that was imported has a line with its id and "Completed processing client". Nothing says in which
encoding it is, whether it is written anew or appended to, or what the other lines look like. So: any encoding is
read; a line that names an id otherwise is Patriot's own word on why it failed; an id that is not named is unknown.
"""

import codecs
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

SUCCESS = "completed processing client"
MAX_WORDS = 2000

_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_WORD = re.compile(r"\w+")
_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the results file held at one moment. `modified` is the share's own time of it."""

    size: int = 0
    sha256: str = hashlib.sha256().hexdigest()
    modified: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the file says of one id: imported, or Patriot's words verbatim."""

    imported: bool
    words: str = ""


def seen(content: bytes, modified: float) -> Seen:
    return Seen(len(content), hashlib.sha256(content).hexdigest(), modified)


def news(content: bytes, modified: float, before: Seen) -> str:
    """What has been written since `before`.

    longer, and begins with what was there → appended: the rest, from the beginning of a line that was cut
    the same bytes, not touched since      → nothing
    anything else, the same bytes again    → written anew: all of it
    """
    encoding = _encoding(content)
    text = _decoded(content, encoding)
    begins_with_it = len(content) >= before.size and (
        hashlib.sha256(content[: before.size]).hexdigest() == before.sha256
    )
    if not begins_with_it:
        return text
    if len(content) == before.size:
        return "" if modified == before.modified else text
    cut = len(_decoded(content[: before.size], encoding))
    if cut >= len(text):
        return ""  # half a character, so far
    if cut and text[cut - 1] not in "\r\n" and text[cut] not in "\r\n":
        cut = max(text.rfind("\n", 0, cut), text.rfind("\r", 0, cut)) + 1
    return text[cut:]


def verdicts(text: str, import_ids: Iterable[str]) -> dict[str, Verdict]:
    """By id, for the ids that `text` names as whole words: 998BASE11 does not stand in 9998BASE11."""
    plain: set[str] = set()
    odd: list[tuple[str, re.Pattern[str]]] = []
    for import_id in import_ids:
        if _WORD.fullmatch(import_id):
            plain.add(import_id)
        else:
            odd.append((import_id, re.compile(rf"(?<!\w){re.escape(import_id)}(?!\w)")))
    odd.sort(key=lambda pair: -len(pair[0]))
    imported: set[str] = set()
    words: dict[str, list[str]] = {}
    for line in _LINE_ENDS.split(text):
        named = _named(line, plain, odd)
        if SUCCESS in line.casefold():
            imported |= named
        else:
            for import_id in named:
                words.setdefault(import_id, []).append(line.strip())
    failed = {name: Verdict(False, "\n".join(lines)[:MAX_WORDS]) for name, lines in words.items()}
    return failed | {name: Verdict(True) for name in imported}


def _named(line: str, plain: set[str], odd: list[tuple[str, re.Pattern[str]]]) -> set[str]:
    """The ids in one line. Ids with signs in them go first, so that no shorter id is found inside one."""
    found = set()
    for import_id, pattern in odd:
        if import_id in line:
            line, times = pattern.subn(" ", line)
            if times:
                found.add(import_id)
    return found | plain.intersection(_WORD.findall(line))


def _encoding(content: bytes) -> str:
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return encoding
    head = content[:4096]
    if head.count(0) * 4 > len(head):
        # UTF-16 without its mark: mostly ASCII, so the zeros tell which byte comes first.
        return "utf-16-le" if head[1::2].count(0) >= head[0::2].count(0) else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=False)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _decoded(content: bytes, encoding: str) -> str:
    """A character that is cut off at the end, because the file is still being written, is left out."""
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(content, final=False)
    return text.replace("\0", "").removeprefix("\ufeff")
