"""`scripts/bench [ROW…] [--quick] [--json FILE] [--save] [--alarms N] [--dir DIR]`.

Exit status: 0 when every figure is within its limit, 1 when one is outside, 2 when a row gave no figures.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agent import __version__
from measuring import machine
from measuring.children import RowFailed, start_row
from measuring.figure import Figure, Size, lines
from measuring.rows import ROWS

LAST = Path(__file__).resolve().parents[1] / "last.json"


def main() -> int:
    options = _options()
    size: Size = "tiny" if options.tiny else "quick" if options.quick else "full"
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="varde-bench-", dir=options.dir) as directory:
        described = machine.describe(Path(directory))
        _say(f"{machine.sentence(described)}")
        begun = time.monotonic()
        for name in options.rows or ROWS:
            _measure(name, size, Path(directory), figures, failures)
    last = _read(LAST)
    known = {(each["row"], each["name"], each["floor_name"]): each for each in last.get("figures", [])}
    print("\n".join(lines(figures, known)))
    _compare(described, last)
    document = {
        "version": __version__,
        "size": size,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(time.monotonic() - begun, 1),
        "machine": described,
        "figures": [figure.as_json() for figure in figures],
        "failures": failures,
    }
    for path in ([options.json] if options.json else []) + ([LAST] if options.save else []):
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return _verdict(figures, failures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the agent beside floors and peers.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"only these: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter, under two minutes")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="the results as JSON as well")
    parser.add_argument("--save", action="store_true", help=f"keep the results as {LAST.parent.name}/{LAST.name}")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="where the databases lie; a real disk, not memory")
    options = parser.parse_args()
    unknown = sorted(set(options.rows) - set(ROWS))
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return options


def _measure(name: str, size: Size, directory: Path, figures: list[Figure], failures: dict[str, str]) -> None:
    measure, patience_s = ROWS[name]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=directory) as own:
        try:
            figures += start_row(partial(measure, size, Path(own)), patience_s)
        except RowFailed as reason:
            failures[name] = str(reason)
    said = "failed" if name in failures else "done"
    _say(f"{name}: {said} in {time.monotonic() - begun:.0f} s")


def _compare(described: Mapping[str, Any], last: Mapping[str, Any]) -> None:
    if not last:
        return
    same = all(described[key] == last["machine"].get(key) for key in ("processor", "cores", "python"))
    where = "the same kind of machine" if same else "another machine: compare ratios only"
    print(f"\nLast run: {last['at']}, version {last['version']}, {last['size']}, {where}.")


def _verdict(figures: list[Figure], failures: Mapping[str, str]) -> int:
    outside = [figure for figure in figures if figure.within is False]
    for figure in outside:
        print(f"outside its limit: {figure.row}, {figure.name}")
    for name, reason in failures.items():
        print(f"no figures: {name}: {reason}")
    return 2 if failures else 1 if outside else 0


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
