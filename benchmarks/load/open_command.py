"""What `python -m benchmarks.load open` does: rates offered, judged, shown and kept."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import save
from benchmarks.load.open_loop import OpenLoop
from benchmarks.load.plots import plot
from benchmarks.load.queries import QueryLog
from benchmarks.load.rates import Offer, Offers, Trial
from benchmarks.load.report import Report, number, write_report
from benchmarks.load.slo import Slo
from core.errors import TandemError

_COLUMNS = (
    *("rate", "answered_per_s", "p50_ms", "p95_ms", "p99_ms", "error_share", "refused_share", "degraded_share"),
    *("ndcg", "lag_p99_ms", "client_cores", "server_cores", "outcome"),
)
_SHOWN = {
    "rate": "rate",
    "answered_per_s": "answered",
    "p50_ms": "p50",
    "p99_ms": "p99",
    "error_share": "errors",
    "refused_share": "refused",
    "ndcg": "nDCG",
    "client_cores": "client",
    "outcome": "",
}
_CONNECT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Target:
    """The service, and its process id where it runs on this machine and is known."""

    address: str
    process: int | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """From which rate on, and how close to the highest one."""

    start: float = 8.0
    precision: float = 0.1


@dataclass(frozen=True, slots=True)
class OpenResult:
    """All trials, the highest rate that holds (the only rate, where one was given), and the trial beyond it."""

    trials: list[Trial]
    highest: float
    bounded: bool
    beyond: Trial | None

    @property
    def valid(self) -> bool:
        """Whether the client kept up wherever the result hangs on it."""
        return self.bounded and (self.beyond is None or self.beyond.valid)

    @property
    def holds(self) -> bool:
        """Whether some rate holds, and the surplus beyond it is handled as required."""
        return self.highest > 0 and (self.beyond is None or self.beyond.verdict.holds)

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "highest_rate": round(self.highest, 2),
            "valid": self.valid,
            "holds": self.holds,
            "trials": [trial.as_json() for trial in self.trials],
            "beyond": self.beyond.as_json() if self.beyond else None,
        }


async def offer_rates(
    target: Target, log: QueryLog, slo: Slo, offer: Offer, search: float | Search, console: Console
) -> OpenResult:
    """One rate, where it is given; else the search for the highest, and then what lies beyond it.

    Raises TandemError when nothing answers at the address.
    """
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                loop = await stack.enter_async_context(OpenLoop(target.address, offer.channels, offer.deadline))
        except TimeoutError:
            raise TandemError(f"nothing answers at {target.address}: start it with `tandem serve`") from None
        offers = Offers(loop, log, slo, offer, target.process, lambda trial: _print_trial(trial, console))
        await offers.fill(offer.fill)
        if isinstance(search, float):
            trial = await offers.at(search)
            return OpenResult(offers.trials, search if trial.verdict.holds else 0.0, trial.valid, None)
        highest = await offers.highest(search.start, search.precision)
        beyond = await offers.beyond(highest.rate) if highest.rate and slo.overload else None
        return OpenResult(offers.trials, highest.rate, highest.bounded, beyond)


def keep(result: OpenResult, slo: Slo, parameters: dict[str, Any], folder: Path, name: str) -> tuple[Path, Path]:
    """Writes JSON and HTML; returns both paths."""
    results = result.as_json()
    rows = [*results["trials"], *([results["beyond"]] if result.beyond else [])]
    judged = [trial for trial in result.trials if trial.rate == result.highest] or result.trials[-1:]
    verdicts = {f"At {judged[-1].rate:.1f} calls a second": judged[-1].verdict}
    if result.beyond:
        verdicts[f"Beyond, at {result.beyond.rate:.1f} calls a second"] = result.beyond.verdict
    report = Report(
        "Load test, open loop",
        summary(result),
        result.valid and result.holds,
        parameters,
        verdicts,
        {"Latency against rate": plot(rows, "rate", "calls offered a second", slo, result.highest or None)},
        [{name: row[name] for name in _COLUMNS} for row in rows],
    )
    return save(name, parameters, results, folder), write_report(report, folder / f"{name}.html")


def summary(result: OpenResult) -> str:
    """One line."""
    if not result.highest:
        return "The objectives hold at no rate that was tried." if result.valid else "The client could not keep up."
    if len(result.trials) == 1 and result.beyond is None:
        text = f"The objectives hold at {result.highest:.1f} calls a second."
    else:
        text = f"The objectives hold up to {result.highest:.1f} calls a second."
    if result.beyond and not result.beyond.verdict.holds:
        text += " Load beyond that is not handled as required."
    return text if result.valid else f"{text} The client could not keep up beyond: no valid result."


def show(result: OpenResult, slo: Slo, console: Console) -> None:
    """The table of all trials, and how many places to give where more than the highest rate is not dealt with."""
    table = Table(*_SHOWN.values())
    for trial in [*result.trials, *([result.beyond] if result.beyond else [])]:
        row = trial.as_json()
        table.add_row(*(number(row[name], 3) for name in _SHOWN))
    console.print(table)
    console.print(summary(result), soft_wrap=True)
    if result.beyond and not result.beyond.verdict.holds and slo.p99_ms:
        # Little's law: as many are inside as come in a second, times the seconds that each stays.
        places = max(1, round(result.highest * slo.p99_ms / 1000))
        console.print(
            f"With max_in_flight = {places}, calls let in at that rate stay {slo.p99_ms:g} ms.", soft_wrap=True
        )


def _print_trial(trial: Trial, console: Console) -> None:
    point = trial.measured
    console.print(
        f"{trial.rate:.1f}/s for {trial.seconds:.0f} s: p50 {number(point.p50_ms)} ms, p99 {number(point.p99_ms)} ms, "
        f"errors {point.error_share:.2%}, client {trial.client_cores:.2f} cores: {trial.outcome}",
        highlight=False,
        soft_wrap=True,
    )
