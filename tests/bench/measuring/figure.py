"""One figure beside its floor, and the table of them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Size = Literal["full", "quick", "tiny"]
"""full: as the limits are meant. quick: under two minutes in all. tiny: only whether the row still runs."""


@dataclass(frozen=True)
class Figure:
    """`judged` is what the limit is about: the ratio to the floor, or the value itself where there is none.

    `limit` None: shown beside the others, not judged. `least` says that the limit is the least that will do.
    """

    row: str
    name: str
    value: float
    unit: str
    floor: float | None = None
    floor_name: str = ""
    judged: float | None = None
    judged_unit: str = "×"
    limit: float | None = None
    least: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same figure in another run."""
        return self.row, self.name, self.floor_name

    @property
    def within(self) -> bool | None:
        if self.limit is None or self.judged is None:
            return None
        return self.judged >= self.limit if self.least else self.judged <= self.limit

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "within": self.within}


@dataclass
class Table:
    """Makes the figures of one row."""

    row: str

    def __post_init__(self) -> None:
        self.figures: list[Figure] = []

    def ratio(
        self,
        name: str,
        value: float,
        unit: str,
        floor: float,
        floor_name: str,
        *,
        most: float | None = None,
        least: float | None = None,
    ) -> None:
        """`value` in relation to `floor`, both in `unit`."""
        limit = most if least is None else least
        judged = value / floor if floor else float("inf")
        self.figures.append(
            Figure(self.row, name, value, unit, floor, floor_name, judged, "×", limit, least is not None)
        )

    def value(self, name: str, value: float, unit: str, *, most: float | None = None, floor_name: str = "") -> None:
        """A figure with a limit of its own, or with none."""
        self.figures.append(Figure(self.row, name, value, unit, None, floor_name, value, unit, most))


def pick(size: Size, full: T, quick: T, tiny: T) -> T:
    return {"full": full, "quick": quick, "tiny": tiny}[size]


def in_turn(rounds: int, works: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each work's results, all of them taking turns."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
    return {name: statistics.median(results) for name, results in found.items()}


def percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def number(value: float | None, unit: str = "") -> str:
    if value is None:
        return ""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}{'' if unit == '×' else ' '}{unit}".strip()


def lines(figures: Sequence[Figure], last: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> list[str]:
    """A Markdown table, so that it can stand in the README as it is."""
    rows = [("row", "figure", "measured", "floor or peer", "ratio", "limit", "last run", "")]
    for figure in figures:
        before = last.get(figure.key, {}).get("judged")
        rows.append(
            (
                figure.row,
                figure.name,
                number(figure.value, figure.unit),
                f"{number(figure.floor, figure.unit)} {figure.floor_name}".strip(),
                number(figure.judged, figure.judged_unit) if figure.floor is not None else "",
                _limit(figure),
                number(before, figure.judged_unit),
                {None: "", True: "ok", False: "OUTSIDE"}[figure.within],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [shown[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *shown[1:]]


def _limit(figure: Figure) -> str:
    return "" if figure.limit is None else f"{'≥' if figure.least else '≤'} {number(figure.limit, figure.judged_unit)}"
