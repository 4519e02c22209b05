"""The `tandem` command."""

import logging
import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.config import load_settings
from core.errors import ReleaseError, TandemError
from core.plan import MAX_TOP_K
from core.releases import ReleaseStore
from engine.device import check_packages
from lifecycle.cli.compress import compress
from lifecycle.cli.failures import report_failure, watch_for_crashes
from lifecycle.cli.improve import improve
from lifecycle.cli.judgments import judgments
from lifecycle.cli.models import models
from lifecycle.cli.options import duration, finite
from lifecycle.cli.progress import Bars
from lifecycle.cli.terminal import accept_any_text, console, print_json
from lifecycle.cli.train import train
from lifecycle.cli.triton import triton
from lifecycle.triton_server import FOLDER
from retrieval.server.settings import TRITON_FOLDER, ServeSettings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Two-tower retrieval for shops: train, index, release, serve, measure.",
)


app.add_typer(models, name="models")
app.add_typer(triton, name="triton")
app.command()(train)
app.command()(compress)
app.command()(judgments)
app.command()(improve)

Releases = Annotated[Path, typer.Option(help="Folder of the releases.")]
Catalog = Annotated[str | None, typer.Option("--catalog", help="Catalog name; default: the only one there is.")]
Address = Annotated[str, typer.Option(help="Host and port of the service.")]
Feed = Annotated[Path, typer.Option(help="Parquet, JSONL or CSV feed, gzipped or not.")]
Mapping = Annotated[Path | None, typer.Option(help="TOML file that maps the feed's columns to product fields.")]
Judgments = Annotated[Path, typer.Option(help="Parquet, CSV or JSONL with query, product_id, grade and split.")]
Cutoff = Annotated[
    float | None,
    typer.Option(
        callback=finite,
        min=0,
        max=1,
        help="Probability that means relevant; default: the ranker's, or best F1 on valid.",
    ),
]


class Precision(StrEnum):
    """Of the weights that a release gets."""

    INT8 = "int8"
    FP16 = "fp16"


class IndexKind(StrEnum):
    """Of vector index. `ivf_pq` takes the least memory, and finds least."""

    EXACT_FP16 = "exact_fp16"
    IVF_FP16 = "ivf_fp16"
    IVF_SQ8 = "ivf_sq8"
    IVF_PQ = "ivf_pq"
    HNSW_FP16 = "hnsw_fp16"


class Place(StrEnum):
    """What embeds products."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


_RELEASES = Path("releases")
_ADDRESS = "127.0.0.1:50051"
REFUSED = 3


@app.command()
def index(
    catalog: Feed,
    mapping: Mapping = None,
    encoder: Annotated[str | None, typer.Option(help="Folder or hub id; default: the one in service.")] = None,
    ranker: Annotated[str | None, typer.Option(help="Folder or hub id; default: the one in service, if any.")] = None,
    final: Annotated[
        Path | None, typer.Option(help="Folder that `tandem train final` wrote; default: the one in service, if any.")
    ] = None,
    synonyms: Annotated[
        Path | None, typer.Option(help="Text file of synonyms and rewrites, or off; default: those in service.")
    ] = None,
    releases: Releases = _RELEASES,
    name: Annotated[str | None, typer.Option(help="Catalog name; default: the mapping's.")] = None,
    max_rejected: Annotated[float, typer.Option(min=0, max=1, help="Share of rows that may be rejected.")] = 0.2,
    recall_target: Annotated[
        float, typer.Option(min=0.5, max=1, help="Least recall@100 of an approximate index.")
    ] = 0.98,
    exact_budget_ms: Annotated[
        float, typer.Option(callback=finite, min=0, help="Search stays exact while a query takes less.")
    ] = 10.0,
    index_kind: Annotated[IndexKind | None, typer.Option(help="Default: the fastest that reaches the target.")] = None,
    queries: Annotated[Path | None, typer.Option(help="Text file of held-out queries, one a line.")] = None,
    golden: Annotated[
        Path | None, typer.Option(help="JSONL of query, product_id and within, the rank to reach.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="fp16 puts half-precision weights beside the int8 models, which a GPU runs.")
    ] = Precision.INT8,
    device: Annotated[
        Place, typer.Option(help="What embeds products; auto: a GPU, if there is one that can.")
    ] = Place.AUTO,
) -> None:
    """Read a feed, clean, embed, index and publish it as a release."""
    from indexer.build import IndexSettings
    from indexer.inputs import IndexOptions
    from indexer.job import index_feed
    from indexer.queries import read_golden, read_queries
    from lifecycle.cli.show import show_release
    from lifecycle.feeds import mapping_of
    from lifecycle.halves import add_halves
    from lifecycle.models import resolve_models
    from text.synonyms import Synonyms, read_synonyms

    store = ReleaseStore(releases)
    options = IndexOptions(
        index=IndexSettings(recall_target=recall_target, exact_budget_ms=exact_budget_ms, kind=index_kind),
        max_rejected=max_rejected,
        queries=read_queries(queries) if queries else (),
        golden=read_golden(golden) if golden else (),
        synonyms=(Synonyms() if synonyms == Path("off") else read_synonyms(synonyms)) if synonyms else None,
        device=device.value,
    )
    chosen = mapping_of(mapping, name)
    models = resolve_models(encoder, ranker, store, chosen.catalog.name, final)
    if precision == Precision.FP16:
        add_halves(models, encoder, ranker, store)
    outcome = index_feed(catalog, chosen, models, options, store, Bars(console))
    show_release(console, outcome.manifest, outcome.embedded)


def _keep_newest(store: ReleaseStore, catalog: str, keep: int) -> list[str]:
    """Removes the other releases and, where Triton has models of them, those; returns their names."""
    repository = store.root / TRITON_FOLDER
    if not repository.is_dir():
        with store.lock(catalog, alone=True):
            return store.prune(catalog, keep)
    from engine.triton.repository import remove_others

    with store.lock(catalog, alone=True):
        gone = store.prune(catalog, keep)
        remove_others(repository, catalog, {release.name for release in store.releases(catalog)})
    return gone


@app.command("releases")
def list_releases(
    releases: Releases = _RELEASES,
    catalog: Catalog = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Newest releases to keep; the others are removed.")] = None,
) -> None:
    """List the releases of a catalog, and remove old ones if asked."""
    from lifecycle.cli.show import show_damage, show_releases

    store = ReleaseStore(releases)
    name = store.named(catalog)
    if keep is not None:
        gone = _keep_newest(store, name, keep)
        console.print(f"removed {len(gone)} releases", highlight=False)
    try:
        current = store.current(name)
    except ReleaseError as error:
        current = None
        show_damage(console, str(error))
    show_releases(console, store.listing(name), current)


@app.command()
def lineage(
    release: Annotated[str | None, typer.Argument(help="Release; default: the one in service.")] = None,
    releases: Releases = _RELEASES,
    catalog: Catalog = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show what a release was made of: its model set, the training runs, and the digests of all data."""
    from lifecycle.cli.show import show_lineage
    from lifecycle.tracking.lineage import release_lineage

    store = ReleaseStore(releases)
    name = store.named(catalog)
    current = release or store.current(name)
    assert current is not None, "a catalog without a release is not among the store's catalogs"
    found = release_lineage(store.manifest(name, current))
    if as_json:
        print_json(found)
    else:
        show_lineage(console, found)


@app.command()
def rollback(
    releases: Releases = _RELEASES,
    catalog: Catalog = None,
    to: Annotated[str | None, typer.Option(help="Release to return to; default: the one before.")] = None,
    model: Annotated[str | None, typer.Option(help="Model set to return to, on the current catalog.")] = None,
) -> None:
    """Return to an earlier release, or to an earlier model set on the current catalog."""
    from lifecycle.cli.show import show_release
    from lifecycle.rollback import to_model, to_release

    store = ReleaseStore(releases)
    name = store.named(catalog)
    if to and model:
        raise TandemError("give --to or --model, not both")
    if model:
        outcome = to_model(store, name, model, Bars(console))
        show_release(console, outcome.manifest, outcome.embedded)
    else:
        console.print(f"catalog {name} is back at release {to_release(store, name, to)}", highlight=False)


@app.command()
def serve(
    releases: Annotated[Path | None, typer.Option(help="Folder of the releases.")] = None,
    address: Annotated[str | None, typer.Option(help="Host and port to listen on.")] = None,
    processes: Annotated[int | None, typer.Option(help="Serving processes that share the address.")] = None,
    lanes: Annotated[
        int | None, typer.Option(help="Worker threads of each process's models; default: its share of the cores.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    max_in_flight: Annotated[int | None, typer.Option(help="Requests in flight; more are refused at once.")] = None,
    default_deadline: Annotated[
        float | None, typer.Option(help="Deadline of calls that have none, in seconds.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="What runs the models: embedded or triton.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the embedded engine runs: cpu, cuda or auto.")] = None,
    triton_url: Annotated[str | None, typer.Option(help="Host and port of Triton's gRPC service.")] = None,
    triton_repository: Annotated[
        Path | None, typer.Option(help="Model repository, the folder that Triton reads.")
    ] = None,
    fallback: Annotated[
        str | None, typer.Option(help="What answers while Triton does not: lexical or embedded.")
    ] = None,
) -> None:
    """Serve the releases over gRPC until Ctrl-C or SIGTERM."""
    from lifecycle.serving import announce, run_service

    options = {
        "releases": releases,
        "address": address,
        "processes": processes,
        "lanes": lanes,
        "max_in_flight": max_in_flight,
        "default_deadline": default_deadline,
        "engine": engine,
        "device": device,
        "triton_url": triton_url,
        "triton_repository": triton_repository,
        "fallback": fallback,
    }
    settings = load_settings(ServeSettings, config, options)
    run_service(settings, partial(announce, console, settings))


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="The shopper's words.")],
    address: Address = _ADDRESS,
    top_k: Annotated[int, typer.Option(min=1, max=MAX_TOP_K, help="Hits to return.")] = 10,
    catalog: Annotated[str, typer.Option(help="Catalog; default: the only one served.")] = "",
    timeout: Annotated[
        float, typer.Option(callback=duration, help="Seconds for the connection, and again for the search.")
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Search through a running service."""
    from google.protobuf.json_format import MessageToDict

    from lifecycle.cli.show import show_answer
    from retrieval.client import SearchClient
    from tandem.v1 import search_pb2

    try:
        request = search_pb2.SearchRequest(query=query, top_k=top_k, catalog=catalog)
    except UnicodeEncodeError:
        raise TandemError("the query or the catalog is not UTF-8; check the terminal's encoding") from None
    with SearchClient(address, timeout) as client:
        client.wait()
        answer = client.search(request)
    if as_json:
        print_json(MessageToDict(answer, preserving_proto_field_name=True))
    else:
        show_answer(console, query, answer)


@app.command()
def sample(
    output: Annotated[Path, typer.Option(help="Folder for the catalog, its mapping and the judgments.")],
    products: Annotated[int, typer.Option(min=100, help="Number of products.")] = 3000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same shop.")] = 7,
) -> None:
    """Make the sample shop."""
    from lifecycle.sample.shop import write_sample

    console.print(write_sample(output, products, seed).line(), highlight=False, markup=False, soft_wrap=True)


@app.command()
def evaluate(
    judgments: Judgments,
    other: Annotated[str | None, typer.Argument(help="With --compare A: the release B, by id or folder.")] = None,
    releases: Releases = _RELEASES,
    catalog: Catalog = None,
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "test",
    relevant: Annotated[
        float | None, typer.Option(callback=finite, help="Least grade that is relevant; default: mid-range.")
    ] = None,
    rerank_depth: Annotated[
        int | None, typer.Option(min=0, max=500, help="Candidates to rescore; default: the release's.")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            help="Compare release A with B, each by id or folder; B alone is compared with the one in service."
        ),
    ] = None,
    cutoff: Cutoff = None,
    per_query: Annotated[Path | None, typer.Option(help="Parquet file for per-query results.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measures as JSON.")] = False,
) -> None:
    """Measure the release in service on judgments, through the search code that serves, or compare two."""
    from lifecycle.cli.show import show_evaluation
    from lifecycle.cli.show_comparison import show_comparison, show_stages
    from lifecycle.quality.evaluation import CURRENT, Ask, compare_releases, evaluate_release, find_release

    if compare is None and (other is not None or cutoff is not None):
        raise TandemError("a release to evaluate, and --cutoff, go with --compare")
    store = ReleaseStore(releases)
    bars = Bars(Console(stderr=True) if as_json else console)
    name = store.named(catalog)
    if compare is not None:
        a, b = (find_release(store, name, given) for given in ((compare, other) if other else (CURRENT, compare)))
        comparison, slices = compare_releases(a, b, Ask(judgments, split, relevant, rerank_depth, cutoff), bars)
        if per_query:
            comparison.write_per_query(per_query, slices)
        if as_json:
            print_json(comparison.as_json())
        else:
            show_comparison(console, comparison)
        return
    result, stages = evaluate_release(store, name, Ask(judgments, split, relevant, rerank_depth), bars)
    if per_query:
        result.write_per_query(per_query)
    if as_json:
        print_json(result.as_json() | stages.as_json())
    else:
        show_evaluation(console, result)
        show_stages(console, stages, result.served)


@app.command()
def gate(
    candidate: Annotated[str, typer.Option(help="Release that is to be served, by id or folder.")],
    judgments: Judgments,
    releases: Releases = _RELEASES,
    catalog: Catalog = None,
    against: Annotated[str, typer.Option(help="Release it would replace, by id or folder.")] = "current",
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "test",
    config: Annotated[Path | None, typer.Option(help="TOML file of rules and thresholds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Decide whether a release may replace the one in service. Exit status 0 if every rule holds, 3 if refused."""
    from lifecycle.cli.show_comparison import show_verdict
    from lifecycle.quality.evaluation import Ask, compare_releases, find_release
    from lifecycle.quality.gate import GateSettings, judge

    settings = load_settings(GateSettings, config, {})
    store = ReleaseStore(releases)
    name = store.named(catalog)
    a, b = (find_release(store, name, given) for given in (against, candidate))
    bars = Bars(Console(stderr=True) if as_json else console)
    comparison, _ = compare_releases(a, b, Ask(judgments, split), bars)
    verdict = judge(comparison, settings)
    if as_json:
        print_json(verdict.as_json())
    else:
        show_verdict(console, verdict)
    if not verdict.released:
        raise typer.Exit(REFUSED)


@app.command()
def run(
    releases: Releases = _RELEASES,
    address: Address = _ADDRESS,
    catalog: Annotated[Path | None, typer.Option(help="Your shop's feed; default: the sample shop.")] = None,
    mapping: Mapping = None,
    judgments: Annotated[
        Path | None, typer.Option(help="Judgments of your shop; without, models stay untuned.")
    ] = None,
    engine: Annotated[str, typer.Option(help="What runs the models: embedded, or triton with a server of its own.")] = (
        "embedded"
    ),
    triton_server: Annotated[Path, typer.Option(help="Folder of the Triton server.")] = FOLDER,
    prepare: Annotated[
        str | None, typer.Option(help="Shell command to run before training, such as one that installs torch.")
    ] = None,
) -> None:
    """Index, serve, and show five answers; then train beside the service, and swap in what is better.

    Steps that are done are not repeated.
    """
    from lifecycle.run import run_shop

    settings = load_settings(ServeSettings, None, {"releases": releases, "address": address, "engine": engine})
    run_shop(settings, catalog, mapping, judgments, console, triton_server, prepare)


def main() -> None:
    """Runs the command. What goes wrong, whatever it is, is one line on standard error and exit status 2."""
    accept_any_text()
    watch_for_crashes()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("tandem").setLevel(logging.INFO)
    try:
        check_packages()
        app()
    except Exception as error:
        report_failure(error)
        sys.exit(2)
    except KeyboardInterrupt:
        print("tandem: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
