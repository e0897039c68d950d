"""What Lockt turns down, in one typed error whatever shape the answer had."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.faults import Fault, FaultClass


class Unsendable(ValueError):
    """A request that is refused before it leaves: a blank id, which Lockt would answer with everything it has."""


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """One record that failed validation: the vendor's sentences, and the record as the vendor echoes it."""

    sentences: tuple[str, ...]
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The process summary of one write, or the sum over its blocks. `processed` is what /delegate counts with."""

    submitted: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    processed: int = 0
    errors: int = 0
    rejected: tuple[RejectedRecord, ...] = ()

    def __add__(self, other: "BatchResult") -> "BatchResult":
        return BatchResult(
            self.submitted + other.submitted,
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.deleted + other.deleted,
            self.processed + other.processed,
            self.errors + other.errors,
            self.rejected + other.rejected,
        )

    @property
    def complete(self) -> bool:
        """Every record went through; a 200 alone does not say so."""
        return not self.errors and not self.rejected


@dataclass(frozen=True, slots=True)
class Complaint:
    """The vendor's own words, out of either error shape: about the request, and about each record."""

    sentences: tuple[str, ...] = ()
    rejected: tuple[RejectedRecord, ...] = field(default=())


class LocktRejected(Fault):
    """Lockt understood and said no.

    `sentences` are its words about the request, `rejected` the records with its words about each. `done` is what
    earlier blocks of the same batch have written already. The message holds no record, since it may be logged.
    """

    def __init__(self, what: str, complaint: Complaint, *, hint: str = "") -> None:
        said = " ".join(complaint.sentences) or "no reason given."
        super().__init__(FaultClass.REJECTED, f"Lockt turns down {what}: {said}", hint=hint)
        self.sentences = complaint.sentences
        self.rejected = complaint.rejected
        self.done = BatchResult()

    @property
    def words(self) -> str:
        """Everything the vendor said, for the person who asked."""
        parts = list(self.sentences)
        for record in self.rejected:
            parts += record.sentences
        return " ".join(parts) or "Lockt gives no reason."


class LocktBusy(Fault):
    """A 429: the request was turned away before it was looked at, and may be repeated after `retry_after_s`."""
