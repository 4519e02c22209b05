"""Judgments from behaviour: clicks, cart additions and purchases, corrected for position bias, as grades."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import FeedError
from evaluation.judgments import JUDGMENTS_SCHEMA, split_of
from lifecycle.examples.events import LAST_POSITION, OUTCOMES, Events
from lifecycle.examples.position_bias import Propensities, estimate

_FIRST = 10
_WEAKEST, _STRONGEST = 1.0, 1000.0
_ALONE, _RARE = 16, 10.0


class Behaviour(BaseModel):
    """The worth of a shopper's action, and the evidence that a judgment needs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    clicked: float = Field(default=0.25, gt=0, le=1, description="Worth of a click, as a share of a purchase's.")
    added: float = Field(
        default=0.5, gt=0, le=1, description="Worth of an addition to the cart, as a share of a purchase's."
    )
    impressions: int = Field(default=5, ge=1, description="Impressions that a product needs for a query to be judged.")
    examined: float = Field(
        default=5.0, gt=0, description="Expected views after which a product without a click is judged."
    )
    skipped: int = Field(
        default=2,
        ge=1,
        description="Clicks further down in the same session after which a product without a click is judged.",
    )
    strength: float | None = Field(
        default=None, gt=0, description="Views that the prior mean counts as; none: estimated from the log."
    )
    clicks: int = Field(
        default=50,
        ge=1,
        description=(
            "Clicks, of products that were shown at several positions, that the position bias is estimated "
            "from; with fewer it is assumed."
        ),
    )
    eta: float = Field(
        default=1.0, ge=0, le=3, description="Exponent of the position bias where it is assumed: 1 / position^eta."
    )

    @model_validator(mode="after")
    def _order(self) -> "Behaviour":
        if self.clicked > self.added:
            raise ValueError(f"a click is worth {self.clicked:g}, an addition {self.added:g}; give added >= clicked")
        return self


class BehaviourSettings(BaseSettings):
    """Settings of `tandem judgments`: `[behaviour]` in TOML, or `TANDEM_BEHAVIOUR__IMPRESSIONS` and so on."""

    model_config = SettingsConfigDict(
        env_prefix="TANDEM_", env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False
    )

    behaviour: Behaviour = Behaviour()


@dataclass(frozen=True, slots=True)
class BehaviourJudgments:
    """A table of `JUDGMENTS_SCHEMA`, and statistics of its sources; `left_out` counts pairs by reason."""

    table: pa.Table
    propensities: Propensities
    strength: float
    read: int
    nameless: int
    pairs: int
    left_out: dict[str, int]
    sessions: bool
    faults: str = ""

    def line(self) -> str:
        """A summary in one line."""
        curve = " ".join(f"{value:.2f}" for value in self.propensities.at(np.arange(1, _FIRST + 1)))
        reasons = ", ".join(f"{count / self.pairs:.1%} {reason}" for reason, count in self.left_out.items() if count)
        parts = [
            f"{self.read:,} rows" + (f" ({self.nameless:,} without query or product)" if self.nameless else ""),
            *([f"could not read {self.faults}"] if self.faults else []),
            f"{len(self.table['query'].unique()):,} queries, {len(self.table):,} products judged",
            f"left out: {reasons or 'none'}" + ("" if self.sessions else " (skips are not counted: no sessions)"),
            f"seen at positions 1 to {_FIRST}: {curve}, {self._source()}",
        ]
        return "; ".join(parts)

    def _source(self) -> str:
        if self.propensities.why:
            return f"assumed as 1/position^{self.propensities.eta:g}, since {self.propensities.why}"
        return f"by {self.propensities.clicks:,} clicks of products shown at several"


@dataclass(frozen=True, slots=True)
class ExposureCounts:
    """Pairs of query and product, n of them, in the order of both; every array has shape (n,).

    `examined` is a pair's expected number of examinations, the sum of p over its impressions; `squares` the sum of p^2.
    `worth` and `worth_squares` sum the worth of its impressions and its squares; `expected` is the mean worth of
    impressions of any product at the same positions.
    """

    query: NDArray[np.int64]
    product: NDArray[np.int64]
    shown: NDArray[np.float64]
    clicked: NDArray[np.float64]
    examined: NDArray[np.float64]
    squares: NDArray[np.float64]
    worth: NDArray[np.float64]
    worth_squares: NDArray[np.float64]
    expected: NDArray[np.float64]


def make_judgments(events: Events, settings: Behaviour) -> BehaviourJudgments:
    """Grades from 0 to 1 for the products that shoppers saw often enough.

    A product's worth to a query is the worth of its impressions per expected examination (`count_exposures`), shrunk
    to the mean of its positions and its query where examinations are few (`smooth_worth`). Dividing by examinations
    varies less than weighting clicks by 1 / p, as in Joachims et al. (2017), and has the same limit. The
    grade is that worth as a share of the query's best product, or of the median query's best if that is more, so that
    a query that nothing fits gets no good product. Products without a click are judged only where shoppers must have
    examined them. Raises FeedError when nothing can be learned.
    """
    pairs, propensities = count_exposures(events, settings)
    skips = count_skips(events, pairs)
    passed = pairs.clicked == 0
    # A product was examined at least once for each click, or for each click below it that passed it over.
    examined = np.maximum(pairs.examined, np.where(passed, skips, pairs.clicked))
    strength = settings.strength or prior_strength(pairs)
    worth = smooth_worth(pairs, examined, strength)
    few = pairs.shown < settings.impressions
    unseen = passed & (examined < settings.examined) & (skips < settings.skipped) & ~few
    usable = ~few & ~unseen
    hopeful = np.bincount(pairs.query, usable & ~passed, len(events.queries)) > 0
    judged = usable & hopeful[pairs.query]
    left_out = {
        f"shown fewer than {settings.impressions} times": int(few.sum()),
        "never clicked and perhaps never seen": int(unseen.sum()),
        "of queries without a product judged that was clicked": int((usable & ~judged).sum()),
    }
    if not judged.any():
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count)
        raise FeedError(
            f"nothing to judge in {len(judged):,} pairs of query and product: {reasons}; log more, or ask less"
        )
    grades = scale_grades(pairs.query[judged], worth[judged])
    if grades.min() == grades.max():
        raise FeedError("every product judged gets the same grade; a model needs at least two different ones")
    table = _table(events, pairs.query[judged], pairs.product[judged], grades)
    counts = (events.read, events.nameless, len(judged), left_out)
    return BehaviourJudgments(table, propensities, strength, *counts, events.sessions, events.faults.line())


def count_exposures(events: Events, settings: Behaviour) -> tuple[ExposureCounts, Propensities]:
    """The pairs of a log, and each position's examination probability. Raises FeedError for a log without clicks."""
    query, product, position, outcome, count = _counted(events)
    clicks = np.where(outcome > 0, count, 0)
    if not clicks.any():
        raise FeedError("no product of the log was ever clicked; there is nothing to learn from")
    starts = np.flatnonzero(np.r_[True, (query[1:] != query[:-1]) | (product[1:] != product[:-1])])
    pair = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(query)]))
    propensities = estimate(pair, position, count, clicks, settings.clicks, settings.eta)
    p = propensities.at(position)
    worth = np.array([0.0, settings.clicked, settings.added, 1.0])[outcome]
    expected = count * p * _mean_worth(position, count * p, count * worth)
    parts = (count, clicks, count * p, count * p**2, count * worth, count * worth**2, expected)
    sums: list[NDArray[np.float64]] = [np.bincount(pair, part).astype(np.float64) for part in parts]
    return ExposureCounts(query[starts], product[starts], *sums), propensities


def _mean_worth(
    position: NDArray[np.int64], examined: NDArray[np.float64], worth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean worth of an examined product by position, shape (n,); rare positions shrink to the overall mean.

    A ranker ordered the products, so worth depends on position. Positions beyond the 16th are taken
    together with others up to twice as far.
    """
    group = np.where(position <= _ALONE, position, _ALONE + np.ceil(np.log2(position / _ALONE))).astype(np.int64)
    times, sums = np.bincount(group, examined), np.bincount(group, worth)
    return ((sums + _RARE * sums.sum() / times.sum()) / (times + _RARE))[group]


def _counted(events: Events) -> tuple[NDArray[np.int64], ...]:
    """Query, product, position, outcome and how often they came together, in the order of the first four."""
    names = ("query", "product", "position", "outcome")
    sizes = (len(events.queries), len(events.products), LAST_POSITION + 1, len(OUTCOMES))
    keys = np.zeros(len(events.rows), np.int64)
    for name, size in zip(names, sizes, strict=True):
        keys *= size
        keys += events.rows[name].to_numpy()
    keys, count = np.unique(keys, return_counts=True)
    return (*np.unravel_index(keys, sizes), count)


def count_skips(events: Events, pairs: ExposureCounts) -> NDArray[np.float64]:
    """How often each pair was passed over: not clicked, and one below it was, in the same session and query."""
    rows = events.rows.filter(pc.is_valid(events.rows["session"]))
    last = rows.filter(pc.greater(rows["outcome"], 0)).group_by(["session", "query"]).aggregate([("position", "max")])
    passed = rows.filter(pc.equal(rows["outcome"], OUTCOMES.index("passed")))
    above = passed.join(last, ["session", "query"], join_type="inner")
    above = above.filter(pc.less(above["position"], above["position_max"]))
    products = len(events.products)
    keys = above["query"].to_numpy().astype(np.int64) * products + above["product"].to_numpy()
    places = np.searchsorted(pairs.query * products + pairs.product, keys)
    return np.bincount(places, minlength=len(pairs.query)).astype(float)


def smooth_worth(pairs: ExposureCounts, examined: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """The worth of a pair per examination, from 0 to 1, shape (n,): (worth + s m) / (examined + s).

    That is the mean after a beta prior of mean m and strength s. m is the mean worth at its positions, times the
    ratio of the worth of the query's products to their expected worth, which is shrunk to 1 in the same way.
    `examined` is at least the clicks of each.
    """
    worth, expected = (np.bincount(pairs.query, part) for part in (pairs.worth, pairs.expected))
    usual = strength * pairs.worth.sum() / pairs.examined.sum()
    ratio = (worth + usual) / (expected + usual)
    means = np.minimum(1.0, ratio[pairs.query] * pairs.expected / pairs.examined)
    return (pairs.worth + strength * means) / (examined + strength)


def prior_strength(pairs: ExposureCounts) -> float:
    """How many examinations the prior mean counts as, by how far products differ from it beyond chance; from 1 to 1000.

    By moments, as in DerSimonian and Laird ("Meta-analysis in clinical trials", 1986): the squared deviations of the
    worth of a query's products from their expected shares, less their sampling variance, estimated from each product's
    own actions, are 1 / (s + 1) of what they would be if a product were always chosen when examined, or never.
    """
    total, expected = (np.bincount(pairs.query, part)[pairs.query] for part in (pairs.worth, pairs.expected))
    share = pairs.expected / expected
    mean = np.minimum(1.0, total * share / pairs.examined)
    act = pairs.worth_squares.sum() / pairs.worth.sum()  # mean worth of an action, 1 where all are purchases

    def sum_squares(variance: NDArray[np.float64]) -> float:
        """The expected weighted squared deviations from the shares, for pairs of this variance."""
        whole = np.bincount(pairs.query, variance)[pairs.query]
        return float(np.sum((variance * (1 - 2 * share) + share**2 * whole) / pairs.examined))

    squares = np.sum((pairs.worth - total * share) ** 2 / pairs.examined)
    between = squares - sum_squares(pairs.worth_squares - pairs.squares * mean**2)
    most = sum_squares((pairs.examined**2 - pairs.squares) * mean * np.maximum(0.0, act - mean))
    if between <= 0 or most <= 0:
        return _STRONGEST
    return float(np.clip(most / between - 1, _WEAKEST, _STRONGEST))


def scale_grades(query: NDArray[np.int64], worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grades from 0 to 1 of pairs in the order of their queries, both of shape (n,)."""
    starts = np.flatnonzero(np.r_[True, query[1:] != query[:-1]])
    best = np.maximum.reduceat(worth, starts)
    return worth / np.repeat(np.maximum(best, np.median(best)), np.diff(np.r_[starts, len(query)]))


def _table(
    events: Events, query: NDArray[np.int64], product: NDArray[np.int64], grades: NDArray[np.float64]
) -> pa.Table:
    """By query, the best products first."""
    order = np.lexsort((product, -grades, query))
    used, places = np.unique(query[order], return_inverse=True)
    names = [events.queries[place] for place in used]
    texts = (pa.array(values, pa.string()).take(pa.array(places)) for values in (names, list(map(split_of, names))))
    columns = dict(zip(("query", "split"), texts, strict=True))
    columns |= {"product_id": events.products.take(pa.array(product[order])), "grade": pa.array(grades[order])}
    return pa.table(columns).select(JUDGMENTS_SCHEMA.names).cast(JUDGMENTS_SCHEMA)
