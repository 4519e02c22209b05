"""The gate: whether a release may take the place of the one in service, by named rules with named reasons."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from evaluation.comparison import holm
from lifecycle.quality.comparison import NDCG, POOL, RECALL, RETRIEVED, SERVED, Comparison, plain


class Rule(StrEnum):
    """What a release has to keep."""

    NDCG_NOT_WORSE = "ndcg_not_worse"
    POOL_NDCG_NOT_WORSE = "pool_ndcg_not_worse"
    RECALL_NOT_WORSE = "recall_not_worse"
    NO_SLICE_MUCH_WORSE = "no_slice_much_worse"
    BETTER_THAN_RANDOM = "better_than_random"
    CALIBRATION = "calibration"


class GateSettings(BaseSettings):
    """Settings of `tandem gate`: a TOML file or `TANDEM_GATE_*` variables."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_GATE_", extra="forbid", frozen=True, allow_inf_nan=False)

    rules: tuple[Rule, ...] = Field(default=tuple(Rule), min_length=1, description="Rules that a release has to hold.")
    ndcg_margin: float = Field(
        default=0.005, ge=0, le=1, description="Loss of nDCG@10 that the 95% interval has to exclude."
    )
    recall_margin: float = Field(
        default=0.005, ge=0, le=1, description="Loss of recall@100 that the 95% interval has to exclude."
    )
    slice_queries: int = Field(default=30, ge=2, description="Queries that a slice needs to be examined.")
    slice_loss: float = Field(
        default=0.03,
        ge=0,
        le=1,
        description="Loss of nDCG@10 in a slice that refuses the release, if it is significant.",
    )
    slice_p: float = Field(
        default=0.05, gt=0, le=1, description="p below which a slice's loss is significant, after Holm's correction."
    )
    calibration_error: float = Field(
        default=0.1, ge=0, le=1, description="Largest expected calibration error of the cross-encoder."
    )


@dataclass(frozen=True, slots=True)
class RuleResult:
    """A rule, its observed and required value, and whether it holds; None, which refuses nothing, if undecidable."""

    rule: Rule
    seen: str
    wanted: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision on a candidate against the release in service."""

    candidate: str
    against: str
    findings: list[RuleResult]

    @property
    def released(self) -> bool:
        """Whether every rule that can be judged holds, and any can."""
        judged = [finding.holds for finding in self.findings if finding.holds is not None]
        return bool(judged) and all(judged)

    def as_json(self) -> dict:
        """The verdict and its reasons."""
        return plain(asdict(self) | {"released": self.released})


def judge(comparison: Comparison, settings: GateSettings) -> Verdict:
    """Applies the rules; B is the candidate, A the release that it would replace."""
    findings = [RuleResult(rule, *_RULES[rule](comparison, settings)) for rule in settings.rules]
    return Verdict(comparison.b.evaluation.release_id, comparison.a.evaluation.release_id, findings)


RuleOutcome = tuple[str, str, bool | None]  # observed value, required value, whether it holds


def _not_worse(stage: str, measure: str, margin: Callable[[GateSettings], float]) -> Callable[..., RuleOutcome]:
    """The 95% interval of B - A lies above minus the margin: not worse is shown, not only not refuted."""

    def rule(comparison: Comparison, settings: GateSettings) -> RuleOutcome:
        wanted = f"{measure}: low end of B - A at least {-margin(settings):+.3f}"
        rows = [row for row in comparison.measures if (row.name, row.measure) == (stage, measure)]
        if not rows:
            return "not comparable: another catalog", wanted, None
        difference = rows[0].paired.difference
        if not difference.queries:
            return "no query has this measure", wanted, None
        return (
            f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]",
            wanted,
            difference.low >= -margin(settings),
        )

    return rule


def _slices(comparison: Comparison, settings: GateSettings) -> RuleOutcome:
    least, loss = settings.slice_queries, settings.slice_loss
    wanted = f"no slice of {least} queries or more loses over {loss:g} with p < {settings.slice_p:g}"
    rows = [row for row in comparison.slices if row.paired.difference.queries >= least]
    if not rows:
        return "no slice is large enough", wanted, None
    corrected = holm(dict(enumerate(row.paired.p for row in rows)))
    bad = [
        f"{row.name} {row.measure} {row.paired.difference.mean:+.3f}, p {corrected[i]:.3f}"
        for i, row in enumerate(rows)
        if row.paired.difference.mean < -loss and corrected[i] < settings.slice_p
    ]
    return "; ".join(bad) or f"none of {len({row.name for row in rows})} slices", wanted, not bad


def _better_than_random(comparison: Comparison, settings: GateSettings) -> RuleOutcome:
    difference = comparison.b.lift.difference
    wanted = f"{POOL}: low end of the lift over random order above 0"
    if not difference.queries:
        return "no pool has a gain", wanted, None
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]", wanted, difference.low > 0


def _calibration(comparison: Comparison, settings: GateSettings) -> RuleOutcome:
    wanted = f"expected calibration error at most {settings.calibration_error:g}"
    if comparison.b.trust is None:
        return "no ranker, no probabilities", wanted, None
    error = comparison.b.trust.calibration_error
    return f"{error.mean:.3f} [{error.low:.3f}, {error.high:.3f}]", wanted, error.mean <= settings.calibration_error


_RULES: dict[Rule, Callable[[Comparison, GateSettings], RuleOutcome]] = {
    Rule.NDCG_NOT_WORSE: _not_worse(SERVED, NDCG, lambda settings: settings.ndcg_margin),
    Rule.POOL_NDCG_NOT_WORSE: _not_worse(SERVED, POOL, lambda settings: settings.ndcg_margin),
    Rule.RECALL_NOT_WORSE: _not_worse(RETRIEVED, RECALL, lambda settings: settings.recall_margin),
    Rule.NO_SLICE_MUCH_WORSE: _slices,
    Rule.BETTER_THAN_RANDOM: _better_than_random,
    Rule.CALIBRATION: _calibration,
}
