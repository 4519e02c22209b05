"""What every stage of one recommendation works with."""

from dataclasses import dataclass, field

import numpy as np

from catalog.segment import Mask, Rows
from engine.protocol import Vectors
from retrieval.pipeline.context import RequestContext
from retrieval.recommend.recommender import Recommender
from retrieval.recommend.user import Subject

_SOURCES_SHARE = 0.7


@dataclass(slots=True)
class RecommendContext(RequestContext):
    """One request for recommendations. `row` and `place` are those of the product that it is for, -1 where the view or
    the behaviour does not have it. `features`, shape (c, f), are those that a learned order ranked
    the candidates by."""

    subject: Subject = field(default_factory=Subject)
    request_id: str = ""
    row: int = -1
    place: int = -1
    features: Vectors | None = None
    matches_depend_on_sources: bool = False

    @property
    def recommender(self) -> Recommender:
        """What the release has for recommendations."""
        return self.release.recommender

    @property
    def learned(self) -> bool:
        """Whether a learned order ranks: it is one of lists for shoppers of whom something is known."""
        return self.subject.user is not None and self.recommender.final is not None and len(self.history.known) > 0

    def sources_until(self) -> float | None:
        """The loop's time until which sources may take; what is left is for ranking and arranging what others have."""
        return self.time_after(lambda seconds: _SOURCES_SHARE * self.release.reserve.usable(seconds))

    def allows(self, rows: Rows) -> Mask:
        """Which of r rows the answer may show, shape (r,): those that pass the filter, are not deleted, and are not the
        product that it is for."""
        mask = self.selection.mask if self.selection is not None else self.view.mask(None)
        allowed = rows >= 0 if mask is None else (rows >= 0) & mask[np.maximum(rows, 0)]
        return allowed & (rows != self.row)
