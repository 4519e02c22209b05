"""Which of two changes wins: a function of the log's order alone, so that every process decides the same.

A change with a version wins over an older version of its product, repeats an equal one, and is stale against a newer
one; it sets the version. One without wins over what stands and leaves the version. A deleted product keeps its version,
so that an older upsert that comes late does not bring it back.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from catalog.changes import Change, ChangeKind, NewEntry

REMEMBERED_REQUESTS = 100_000


class Outcome(IntEnum):
    """What became of a change: `unchanged` repeats a version, `missing` has no product to change or delete."""

    applied = 0
    unchanged = 1
    stale = 2
    missing = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered: the revision of its entry, and an outcome for each of its changes."""

    revision: int
    outcomes: tuple[Outcome, ...]


def no_version(product_id: str) -> int:
    """The version of a product of a catalog where nobody gave one."""
    return 0


class ChangeRules:
    """The versions of products, and the requests of the last 100,000 entries.

    `version_before` returns the version that a release has for a product id, 0 where it has none.
    """

    def __init__(self, version_before: Callable[[str], int] = no_version) -> None:
        self._before = version_before
        self._versions: dict[str, int] = {}
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def version(self, product_id: str) -> int:
        """The product's version, deleted or not; 0 where nobody gave one."""
        known = self._versions.get(product_id)
        return self._before(product_id) if known is None else known

    def decide(self, change: Change, exists: bool) -> Outcome:
        """Whether a change wins, given whether its product is there; of one that wins, the version is taken over.

        A delete with a version of a product that is not there wins: it keeps older upserts away.
        """
        if change.version:
            version = self.version(change.product_id)
            if change.version <= version:
                return Outcome.unchanged if change.version == version else Outcome.stale
        if not exists and (
            change.kind is ChangeKind.update_fields or (change.kind is ChangeKind.delete and not change.version)
        ):
            return Outcome.missing
        if change.version:
            self._versions[change.product_id] = change.version
        return Outcome.applied

    def repeated(self, request_id: str) -> Answer | None:
        """The first answer to a request that was seen; an empty id repeats none."""
        return self._answers.get(request_id) if request_id else None

    def remember(self, entry: NewEntry, revision: int, outcomes: Sequence[Outcome]) -> None:
        """Keeps the answer to an entry's request; those of 100,000 entries before are forgotten."""
        if entry.request_id:
            self._answers[entry.request_id] = Answer(revision, tuple(outcomes))
        while self._answers and next(iter(self._answers.values())).revision <= revision - REMEMBERED_REQUESTS:
            self._answers.popitem(last=False)

    @property
    def changed(self) -> dict[str, int]:
        """The versions that changes set, by product id."""
        return self._versions

    @property
    def answers(self) -> OrderedDict[str, Answer]:
        """The answers that are remembered, by request id, in the order of their entries."""
        return self._answers
