"""The stages of one release against the order that shoppers see: what each is worth, and where it is worth more."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from evaluation import measures
from evaluation.comparison import paired
from evaluation.measures import Estimate
from lifecycle.quality.comparison import (
    LEAST_QUERIES,
    NDCG,
    POOL,
    RECALL,
    Example,
    MeasureComparison,
    compare_examples,
    plain,
    tested,
)
from lifecycle.quality.costs import StageCost
from lifecycle.quality.evaluate import RANDOM, Evaluation
from lifecycle.quality.slices import Slices


@dataclass(frozen=True)
class StageComparison:
    """`rows` pair each stage (A) with the served one (B). `slices` are means of nDCG@10 by slice and stage. `costs` are
    what each stage gains, and takes of a query's time.

    `gains` and `losses` are, by stage, the queries where the served order is most ahead of it, and most behind.
    """

    rows: list[MeasureComparison]
    slices: dict[str, dict[str, Estimate]]
    gains: dict[str, list[Example]]
    losses: dict[str, list[Example]]
    costs: list[StageCost] = field(default_factory=list)

    def as_json(self) -> dict:
        """Without the examples."""
        return {
            "against_served": plain([asdict(row) for row in self.rows]),
            "stage_costs": plain([cost.as_json() for cost in self.costs]),
            "slices": plain(
                {name: {s: asdict(e) for s, e in estimates.items()} for name, estimates in self.slices.items()}
            ),
        }


def compare_stages(
    evaluation: Evaluation, slices: Slices, title: Callable[[str], str], examples: int = 2
) -> StageComparison:
    """Compares every stage with the served one on the same queries; `title` names a product in examples."""
    served = evaluation.served
    others = [stage for stage in evaluation.values if stage not in (served, RANDOM)]
    comparisons = {
        (stage, name): paired(evaluation.values[stage][name], evaluation.values[served][name])
        for stage in others
        for name in (NDCG, RECALL, POOL)
    }
    gains, losses = {}, {}
    for stage in others:
        values = evaluation.values[stage][NDCG], evaluation.values[served][NDCG]
        lists = evaluation.rankings[stage], evaluation.rankings[served]
        gains[stage], losses[stage] = compare_examples(values, lists, evaluation.grades, title, examples)
    return StageComparison(tested(comparisons), _sliced(evaluation, slices, [*others, served]), gains, losses)


def _sliced(
    evaluation: Evaluation, slices: Mapping[str, set[str]], stages: list[str]
) -> dict[str, dict[str, Estimate]]:
    result = {}
    for name, queries in sorted(slices.items()):
        values = {stage: [v for q, v in evaluation.values[stage][NDCG].items() if q in queries] for stage in stages}
        if len(values[evaluation.served]) >= LEAST_QUERIES:
            result[name] = {stage: measures.estimate(values_of_stage) for stage, values_of_stage in values.items()}
    return result
