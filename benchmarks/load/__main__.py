"""Load tests against objectives: shoppers (Locust), or calls at a rate whatever comes back (open loop).

Exit status: 0 the objectives hold, 3 they do not, 4 the client could not keep up, 2 wrong input.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.common import NO_CACHES, RESULTS, free_address, serving
from benchmarks.load.locust_run import HOLDS, INVALID_EXIT, REFUSED_EXIT
from benchmarks.load.open_command import Search, Target, keep, offer_rates, show
from benchmarks.load.queries import read_queries
from benchmarks.load.rates import Offer, settings_in_force
from benchmarks.load.schedule import Arrivals
from benchmarks.load.shapes import SECONDS, Shape
from benchmarks.load.slo import read_slo
from core.address import target_address
from core.errors import TandemError
from lifecycle.cli.options import duration, finite

_SLO = Path(__file__).parent / "slo.toml"
_LOCUSTFILE = Path(__file__).parent / "locustfile.py"

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

Queries = Annotated[Path, typer.Option(help="Judgments, a CSV of query and count, or text with a query a line.")]
Objectives = Annotated[Path, typer.Option("--slo", help="TOML file of objectives.")]
Address = Annotated[str | None, typer.Option(help="Host and port of a running service.")]
Releases = Annotated[Path, typer.Option(help="Without --address: the folder of releases to serve for the test.")]
Split = Annotated[str, typer.Option(help="Of the judgments; all for every query.")]
Zipf = Annotated[float, typer.Option(min=0, max=5, help="Exponent of the queries' shares; 0: the file's shares.")]
Caches = Annotated[
    bool,
    typer.Option(
        "--caches/--no-caches",
        help="Without --address: whether the service keeps what it computed. The few queries of a file are soon all "
        "kept, so this wants a log with a shape of its own, or --zipf.",
    ),
]
Deadline = Annotated[float, typer.Option(callback=duration, help="Of each call, in seconds.")]
Output = Annotated[Path, typer.Option(help="Folder of the JSON and the HTML report.")]

_RELEASES = Path("releases")


@app.command("open")
def open_loop(
    queries: Queries,
    slo: Objectives = _SLO,
    address: Address = None,
    releases: Releases = _RELEASES,
    split: Split = "test",
    zipf: Zipf = 0.0,
    caches: Caches = False,
    fill: Annotated[int, typer.Option(min=0, help="Calls before the first run, to fill the caches.")] = 0,
    deadline: Deadline = 1.0,
    rate: Annotated[
        float | None, typer.Option(callback=finite, min=0.1, help="Calls a second; default: find the highest.")
    ] = None,
    start: Annotated[float, typer.Option(callback=finite, min=0.1, help="First rate of the search.")] = 8.0,
    precision: Annotated[float, typer.Option(min=0.01, max=1, help="Of the highest rate, as a share.")] = 0.1,
    arrivals: Arrivals = Arrivals.POISSON,
    channels: Annotated[int, typer.Option(min=1, max=256, help="Connections.")] = 4,
    seconds: Annotated[float, typer.Option(callback=finite, min=1, help="Least length of a run.")] = 20.0,
    calls: Annotated[int, typer.Option(min=10, help="Least calls of a run: p99 needs hundreds.")] = 500,
    most_lag_ms: Annotated[
        float, typer.Option(callback=finite, min=0.1, help="How late the client may send, p99.")
    ] = 20.0,
    output: Output = RESULTS,
    name: Annotated[str, typer.Option(help="Of the report's files.")] = "load_open",
) -> None:
    """Calls at a constant mean rate, sent when due whatever comes back; without --rate, the highest that holds."""
    console = Console()
    log = read_queries(queries, split)
    limits = read_slo(slo, bool(log.grades))
    log = log.skewed(zipf) if zipf else log
    offer = Offer(deadline, channels, arrivals, seconds, calls, most_lag_ms=most_lag_ms, fill=fill)
    search = rate if rate is not None else Search(start, precision)
    with _service(address, releases, caches) as target:
        result = asyncio.run(offer_rates(target, log, limits, offer, search, console))
    parameters = asdict(offer) | {"queries": queries.name, "different_queries": len(log.queries), "split": split}
    parameters |= {
        "zipf": zipf,
        "slo": limits.model_dump(),
        "service_settings": settings_in_force(),
        "caches": _describe_caches(address, caches),
    }
    show(result, limits, console)
    console.print(*keep(result, limits, parameters, output, name), sep="\n")
    _exit(INVALID_EXIT if not result.valid else HOLDS if result.holds else REFUSED_EXIT)


@app.command("locust")
def shoppers(
    queries: Queries,
    slo: Objectives = _SLO,
    address: Address = None,
    releases: Releases = _RELEASES,
    split: Split = "test",
    zipf: Zipf = 0.0,
    caches: Caches = False,
    deadline: Deadline = 1.0,
    shape: Annotated[Shape, typer.Option(help="How the number of shoppers goes over the run.")] = Shape.STEADY,
    users: Annotated[int, typer.Option(min=1, max=10_000, help="Shoppers at the most.")] = 8,
    seconds: Annotated[int | None, typer.Option(min=5, help="Length; default: by the shape.")] = None,
    think: Annotated[
        float, typer.Option(callback=finite, min=0, help="Mean seconds between an answer and the next question.")
    ] = 1.0,
    output: Output = RESULTS,
    name: Annotated[str, typer.Option(help="Of the report's files.")] = "load_locust",
) -> None:
    """Shoppers who ask, think and ask again, by Locust."""
    read_slo(slo, bool(read_queries(queries, split).grades))  # wrong input is reported before anything starts
    output.mkdir(parents=True, exist_ok=True)
    length = seconds or SECONDS[shape]
    with _service(address, releases, caches) as target:
        options = {
            "host": target.address, "users": users, "spawn-rate": 100, "run-time": f"{length}s",
            "stop-timeout": round(deadline + 1),
            "load-shape": shape.value, "queries": queries, "split": split, "zipf": zipf, "objectives": slo,
            "service-caches": _describe_caches(address, caches), "think-seconds": think, "deadline": deadline,
            "output": output, "name": name,
            "html": output / f"{name}_requests.html", "server-process": target.process or 0,
        }  # fmt: skip
        arguments = [part for option, value in options.items() for part in (f"--{option}", str(value))]
        command = [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), "--headless", "--only-summary", *arguments]
        status = subprocess.run(command, check=False).returncode
    _exit(status)


@contextmanager
def _service(address: str | None, releases: Path, caches: bool) -> Iterator[Target]:
    """The running service, or one started for the test."""
    if address is not None:
        yield Target(target_address(address))
        return
    if not releases.is_dir():
        raise TandemError(f"{releases}: no such folder; give --releases, or the --address of a running service")
    own = free_address()
    with serving(releases, own, {} if caches else NO_CACHES) as process:
        yield Target(own, process)


def _describe_caches(address: str | None, caches: bool) -> str:
    """For the record: a service that runs already has settings of its own."""
    return "as the service is set" if address is not None else "on" if caches else "off"


def _exit(status: int) -> None:
    if status:
        raise typer.Exit(status)


def main() -> None:
    """Runs the command. A user's error is one line on standard error and exit status 2."""
    try:
        app()
    except TandemError as error:
        print(f"tandem: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
