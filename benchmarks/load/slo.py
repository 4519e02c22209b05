"""Service level objectives: read from a TOML file, and judged."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from benchmarks.load.measured import LATE, OK, REFUSED, LoadMeasures
from core.config import load_settings
from core.errors import TandemError

_PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")


class Overload(BaseModel):
    """What has to hold when `factor` times the highest rate is offered: the surplus is refused, the rest answered."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    factor: float = Field(default=2.0, gt=1, le=20, description="of the highest rate")
    p99_ms: float = Field(gt=0, description="of what is let in")
    answered_share: float = Field(default=0.8, ge=0, le=1, description="of the highest rate, that is still answered")


class Slo(BaseSettings):
    """Limits in milliseconds, shares from 0 to 1 and nDCG@10; what is left out is not judged."""

    model_config = SettingsConfigDict(
        env_prefix="TANDEM_SLO_", env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False
    )

    p50_ms: float | None = Field(default=None, gt=0)
    p95_ms: float | None = Field(default=None, gt=0)
    p99_ms: float | None = Field(default=None, gt=0)
    error_share: float = Field(default=0.001, ge=0, le=1, description="of all calls; a refused one is an error")
    ndcg: float | None = Field(default=None, ge=0, le=1, description="least nDCG@10 of the answers at that load")
    overload: Overload | None = None

    @model_validator(mode="after")
    def _rising(self) -> "Slo":
        limits = [limit for name in _PERCENTILES if (limit := getattr(self, name)) is not None]
        if limits != sorted(limits):
            raise ValueError("p50_ms, p95_ms and p99_ms must not fall")
        return self


@dataclass(frozen=True, slots=True)
class Finding:
    """One objective, the measured value (None where there is none), the limit, and whether it holds."""

    name: str
    seen: float | None
    limit: float
    holds: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """All objectives judged."""

    findings: list[Finding]

    @property
    def holds(self) -> bool:
        """Whether every one holds."""
        return all(finding.holds for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The findings and the overall result."""
        return asdict(self) | {"holds": self.holds}


def read_slo(path: Path, judged: bool) -> Slo:
    """`judged` is whether the queries have judgments. Raises TandemError when the file cannot be used or asks for
    nDCG without them."""
    slo = load_settings(Slo, path, {})
    if all(getattr(slo, name) is None for name in _PERCENTILES):
        raise TandemError(f"{path}: limits no latency; set p50_ms, p95_ms or p99_ms")
    if slo.ndcg is not None and not judged:
        raise TandemError(f"{path}: limits nDCG, which needs judgments: give them as --queries, or remove ndcg")
    return slo


def judge(slo: Slo, measured: LoadMeasures) -> Verdict:
    """Latencies, errors and nDCG@10 of one run."""
    findings = [
        _at_most(name, getattr(measured, name), limit)
        for name in _PERCENTILES
        if (limit := getattr(slo, name)) is not None
    ]
    findings.append(_at_most("error_share", measured.error_share, slo.error_share))
    if slo.ndcg is not None:
        findings.append(_at_least("ndcg", measured.ndcg, slo.ndcg))
    return Verdict(findings)


def judge_overload(overload: Overload, highest: float, measured: LoadMeasures) -> Verdict:
    """A run above the highest rate: admitted calls are still fast, answers do not collapse, refusals state when to
    try again, and nothing else fails."""
    failed = sum(count for status, count in measured.statuses.items() if status not in (OK, REFUSED, LATE))
    return Verdict(
        [
            _at_most("p99_ms of what is let in", measured.p99_ms, overload.p99_ms),
            _at_least("answered_per_s", measured.answered_per_s, overload.answered_share * highest),
            _at_least("share of refusals that say when to try again", measured.retry_share, 1.0),
            _at_most("calls that failed otherwise", failed, 0),
        ]
    )


def _at_most(name: str, measured: float | None, limit: float) -> Finding:
    return Finding(name, measured, limit, measured is not None and measured <= limit)


def _at_least(name: str, measured: float | None, limit: float) -> Finding:
    return Finding(name, measured, limit, measured is not None and measured >= limit)
