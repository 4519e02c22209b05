"""`tandem index`: a release of a feed."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.errors import TandemError
from core.releases import ReleaseStore
from core.signatures import SigningKey
from lifecycle.cli.options import RELEASES, ChangeLogSetting, Feed, Mapping, Releases, SignKey, finite
from lifecycle.cli.progress import Bars
from lifecycle.cli.terminal import console


class Precision(StrEnum):
    """The precision of the weights in a release."""

    INT8 = "int8"
    FP16 = "fp16"


class IndexKind(StrEnum):
    """The kinds of vector index; `ivf_pq` has the least memory and recall."""

    EXACT_FP16 = "exact_fp16"
    IVF_FP16 = "ivf_fp16"
    IVF_SQ8 = "ivf_sq8"
    IVF_PQ = "ivf_pq"
    HNSW_FP16 = "hnsw_fp16"


class EmbedDevice(StrEnum):
    """The device that embeds products."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Users = Annotated[
    Path | None, typer.Option(help="Folder that `tandem train users` wrote; default: the one in service, if any.")
]
Models = Annotated[
    Path | None,
    typer.Option(help="Folder of trainings: takes its encoder and, if there, its ranker, final and users."),
]


def index(
    catalog: Feed,
    mapping: Mapping = None,
    encoder: Annotated[str | None, typer.Option(help="Folder or hub id; default: the one in service.")] = None,
    ranker: Annotated[str | None, typer.Option(help="Folder or hub id; default: the one in service, if any.")] = None,
    final: Annotated[
        Path | None, typer.Option(help="Folder that `tandem train final` wrote; default: the one in service, if any.")
    ] = None,
    models: Models = None,
    users: Users = None,
    synonyms: Annotated[
        Path | None, typer.Option(help="Text file of synonyms and rewrites, or off; default: those in service.")
    ] = None,
    releases: Releases = RELEASES,
    name: Annotated[str | None, typer.Option(help="Catalog name; default: the mapping's.")] = None,
    max_rejected: Annotated[float, typer.Option(min=0, max=1, help="Share of rows that may be rejected.")] = 0.2,
    recall_target: Annotated[
        float, typer.Option(min=0.5, max=1, help="Least recall@100 of an approximate index.")
    ] = 0.98,
    exact_budget_ms: Annotated[
        float, typer.Option(callback=finite, min=0, help="Search stays exact while a query takes less.")
    ] = 10.0,
    index_kind: Annotated[IndexKind | None, typer.Option(help="Default: the fastest that reaches the target.")] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Text file of past queries, one a line, its count behind a tab, or off; default: those in service."
        ),
    ] = None,
    golden: Annotated[
        Path | None, typer.Option(help="JSONL of query, product_id and within, the rank to reach.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="fp16 puts half-precision weights beside the int8 models, which a GPU runs.")
    ] = Precision.INT8,
    device: Annotated[
        EmbedDevice, typer.Option(help="What embeds products; auto: a GPU, if there is one that can.")
    ] = EmbedDevice.AUTO,
    as_of: Annotated[
        str | None,
        typer.Option(
            help="Time of the feed, such as 2026-12-01T09:00+01:00: it supersedes changes accepted until then; "
            "default: when its file was last modified."
        ),
    ] = None,
    change_log: ChangeLogSetting = "",
    sign_key: SignKey = None,
) -> None:
    """Read a feed, clean, embed, index and publish it as a release."""
    from indexer.build import IndexSettings
    from indexer.inputs import IndexOptions
    from indexer.job import index_feed
    from indexer.queries import read_golden, read_queries
    from lifecycle.cli.show import show_release
    from lifecycle.feeds import read_mapping
    from lifecycle.halves import add_halves
    from lifecycle.models import models_in, resolve_models
    from lifecycle.rules import read_time
    from text.synonyms import Synonyms, read_synonyms

    if models and (encoder or ranker or final or users):
        raise TandemError("--models names the folder of all models: leave out --encoder, --ranker, --final and --users")
    store = ReleaseStore(releases, SigningKey(sign_key) if sign_key else None)
    options = IndexOptions(
        index=IndexSettings(recall_target=recall_target, exact_budget_ms=exact_budget_ms, kind=index_kind),
        max_rejected=max_rejected,
        queries=({} if queries == Path("off") else read_queries(queries)) if queries else None,
        golden=read_golden(golden) if golden else (),
        synonyms=(Synonyms() if synonyms == Path("off") else read_synonyms(synonyms)) if synonyms else None,
        device=device.value,
        change_log=change_log,
        as_of=None if as_of is None else int(read_time(as_of, "--as-of").timestamp() * 1000),
    )
    chosen = read_mapping(mapping, name)
    used = models_in(models) if models else resolve_models(encoder, ranker, store, chosen.catalog.name, final, users)
    if precision == Precision.FP16:
        add_halves(used, encoder, ranker, store)
    outcome = index_feed(catalog, chosen, used, options, store, Bars(console))
    show_release(console, outcome.manifest, outcome.embedded)
