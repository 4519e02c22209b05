"""The index job: clean products and a model set become a published release."""

import logging
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from catalog.product import CATALOG_SCHEMA, PRODUCT_TEXT_VERSION
from catalog.table import ProductTable
from catalog.tokens import OFFSETS_FILE, TOKENS_FILE
from core.digest import file_digest, value_digest
from core.errors import FeedError, ReleaseError
from core.manifest import (
    CatalogSnapshot,
    FileEntry,
    LexicalReport,
    Manifest,
    ModelSet,
    catalog_id,
    model_id,
    release_id,
)
from core.progress import Steps
from core.releases import ReleaseStore
from core.strings import fold_text
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from engine.device import Device, chosen_device
from engine.half import has_half
from engine.lexical.index import FORMAT, SYNONYMS_FILE, lexical_files
from engine.onnx.session import OnnxModel
from indexer.build import IndexReport, IndexSettings, build_index
from indexer.cleaning.mapping import Mapping
from indexer.embed import Place, embed_products, tokenize_products
from indexer.feed.source import feed_errors
from indexer.lexical import WEIGHTS, index_words
from indexer.products import CleanResult, clean_feed
from indexer.validate import GoldenQuery, validate
from indexer.work import work_folder
from ranker.final import FinalScore
from ranker.ranker import Ranker
from text.synonyms import Synonyms

log = logging.getLogger("tandem.index")

COLUMNS_FILE = "products.arrow"
QUARANTINE_FILE = "quarantine.parquet"
INDEX_FILE = "index.faiss"
LEXICAL_FOLDER = "lexical"
WORK = "work"

_HELD_OUT_QUERIES = 256


@dataclass(frozen=True, slots=True)
class Market:
    """Whose catalog it is: its name, language (BCP 47), country (ISO 3166-1) and currency (ISO 4217)."""

    catalog: str
    language: str
    country: str | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Products:
    """Cleaned products, ready to be indexed: the columns' file, what cleaning saw, and files to keep beside them."""

    market: Market
    columns: Path
    cleaning: dict[str, Any]
    beside: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Models:
    """The folders of a model set, and what is known of how each was made."""

    encoder: Path
    ranker: Path | None
    lineage: dict[str, Any] | None = None
    final: Path | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How to index. `queries` are held-out texts on which an index's recall and latency are measured.

    On device `cuda`, or `auto` where there is a GPU and the towers have weights for it, that embeds the products.

    Without `synonyms`, those of the release in service stay.
    """

    index: IndexSettings = field(default_factory=IndexSettings)
    max_rejected: float = 0.2
    queries: tuple[str, ...] = ()
    golden: tuple[GoldenQuery, ...] = ()
    synonyms: Synonyms | None = None
    device: Device = "cpu"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The release in service after the job, and how many products had to be embedded; None when nothing changed."""

    manifest: Manifest
    embedded: int | None


def index_feed(
    feed: Path,
    mapping: Mapping,
    models: Models,
    options: Options,
    store: ReleaseStore,
    steps: Steps,
) -> Outcome:
    """Reads and cleans a feed, and publishes a release of it unless the one in service was made of the same.

    Raises FeedError, ModelError or ReleaseError, with nothing published.
    """
    told = mapping.catalog
    market = Market(told.name, told.language, told.country, told.currency)
    with store.lock(market.catalog):
        inputs = _inputs(feed, mapping, models, options)
        served = _served(store, market.catalog)
        if served and _same(served, inputs, options) and _whole(store, served):
            return Outcome(served, None)
        with work_folder(store.folder(market.catalog) / WORK, [QUARANTINE_FILE]) as work:
            with steps.step("clean") as report:
                cleaned = clean_feed(feed, mapping, work, report, options.max_rejected)
            return _release(_products(cleaned, market), models, options, inputs, store, work, steps)


def apply_models(catalog: str, models: Models, options: Options, store: ReleaseStore, steps: Steps) -> Outcome:
    """Publishes the current products of a catalog under another model set, indexed as they were indexed.

    Raises ReleaseError when there are none or they are damaged.
    """
    with store.lock(catalog):
        served = _served(store, catalog)
        if served is None:
            raise ReleaseError(f"catalog {catalog!r} has no release yet: make one with `tandem index`")
        for name in (COLUMNS_FILE, QUARANTINE_FILE):
            store.verify(catalog, served.release_id, name)
        folder = store.path(catalog, served.release_id)
        options = _with_kept(options, served)
        with work_folder(store.folder(catalog) / WORK, []) as work:
            names = [name for name in (COLUMNS_FILE, QUARANTINE_FILE) if name in served.snapshot.files]
            for name in names:
                shutil.copyfile(folder / name, work / name)
            market = Market(catalog, served.language, served.country, served.currency)
            kept = {name: digest for name, digest in served.inputs.items() if name not in ("final", "half")}
            inputs = {**kept, "settings": _settings_digest(options), **_model_inputs(models)}
            beside = {name: work / name for name in names[1:]}
            products = Products(market, work / COLUMNS_FILE, served.snapshot.cleaning, beside)
            return _release(products, models, options, inputs, store, work, steps)


def _release(
    products: Products,
    models: Models,
    options: Options,
    inputs: dict[str, str],
    store: ReleaseStore,
    work: Path,
    steps: Steps,
) -> Outcome:
    tower = BiEncoder.open(models.encoder)
    ranker = Ranker.open(models.ranker) if models.ranker else None
    final = FinalScore.open(models.final) if models.final else None
    if final is not None:
        final.check(tower.digest, ranker.digest if ranker else "")
    columns = ProductTable(products.columns)
    with steps.step("embed") as report:
        vectors, embedded = embed_products(columns, tower, work, report, _place(tower, options.device))
    beside = dict(products.beside)
    if ranker is not None:
        with steps.step("tokenise for the ranker") as report:
            tokenize_products(columns, ranker, work, report)
        beside |= {name: work / name for name in (TOKENS_FILE, OFFSETS_FILE)}
    with steps.step("index words") as report:
        synonyms = options.synonyms or _synonyms(store, products.market.catalog)
        words = index_words(columns, products.market.language, synonyms, work / LEXICAL_FOLDER, report)
    beside |= {f"{LEXICAL_FOLDER}/{name}": work / LEXICAL_FOLDER / name for name in lexical_files(list(words.weights))}
    with steps.step("build the index") as report:
        queries = _held_out(columns, tower, options.queries)
        index = build_index(vectors, queries, work / INDEX_FILE, options.index, report)
    with steps.step("validate"):
        seen = validate(columns, vectors, work / INDEX_FILE, index.model_dump(), tower, list(options.golden))
    with steps.step("publish"):
        files = {COLUMNS_FILE: products.columns, INDEX_FILE: work / INDEX_FILE, **beside}
        settings = _kept_settings(options)
        manifest = _publish(
            products, files, tower, ranker, final, models.lineage, index, words, seen, inputs, settings, store
        )
    (work / "vectors.npy").unlink()
    return Outcome(manifest, embedded)


def _publish(
    products: Products,
    files: dict[str, Path],
    tower: BiEncoder,
    ranker: Ranker | None,
    final: FinalScore | None,
    lineage: dict[str, Any] | None,
    index: IndexReport,
    words: LexicalReport,
    seen: dict[str, Any],
    inputs: dict[str, str],
    settings: dict[str, Any],
    store: ReleaseStore,
) -> Manifest:
    count = len(ProductTable(products.columns))
    model_files = {f"encoder/{path.name}": store.add_copy(path) for path in tower.files()}
    if ranker is not None:
        model_files |= {f"ranker/{path.name}": store.add_copy(path) for path in ranker.files()}
    if final is not None:
        model_files |= {f"final/{path.name}": store.add_copy(path) for path in final.files()}
    entries: dict[str, FileEntry] = {name: store.add(path) for name, path in files.items()}
    created = datetime.now(UTC)
    model, catalog = model_id(model_files), catalog_id(entries[COLUMNS_FILE])
    manifest = Manifest(
        release_id=release_id(created, model, catalog),
        created=created,
        tandem_version=version("tandem-retrieval"),
        catalog=products.market.catalog,
        language=products.market.language,
        country=products.market.country,
        currency=products.market.currency,
        inputs=inputs,
        settings=settings,
        model=ModelSet(
            model_id=model,
            encoder=tower.spec.model_dump(mode="json"),
            ranker=ranker.spec.model_dump(mode="json") if ranker else None,
            final=final.spec.model_dump(mode="json") if final else None,
            lineage=lineage,
            files=model_files,
        ),
        snapshot=CatalogSnapshot(
            catalog_id=catalog,
            products=count,
            cleaning=products.cleaning,
            index=index.model_dump(),
            lexical=words,
            files=entries,
        ),
        validation=seen,
    )
    return store.publish(manifest)


def _products(cleaned: CleanResult, market: Market) -> Products:
    beside = {QUARANTINE_FILE: cleaned.quarantine} if cleaned.quarantine.is_file() else {}
    return Products(market, cleaned.columns, cleaned.summary(), beside)


def _served(store: ReleaseStore, catalog: str) -> Manifest | None:
    """Of the release in service, or of what stands in for it; None where there is neither: a new one mends that."""
    try:
        return store.in_service(catalog)
    except ReleaseError as error:
        log.warning("nothing is taken from what was in service: %s", error)
        return None


def _synonyms(store: ReleaseStore, catalog: str) -> Synonyms:
    """Those of the release in service, or none. Raises ReleaseError when they are damaged."""
    served = _served(store, catalog)
    name = f"{LEXICAL_FOLDER}/{SYNONYMS_FILE}"
    if served is None or name not in served.snapshot.files:
        return Synonyms()
    try:
        store.verify(catalog, served.release_id, name)
        return Synonyms.model_validate_json((store.path(catalog, served.release_id) / name).read_bytes())
    except (ReleaseError, ValidationError):
        raise ReleaseError(
            f"release {served.release_id}: its {name} cannot be read; give --synonyms a file, or off"
        ) from None


def _same(served: Manifest, inputs: dict[str, str], options: Options) -> bool:
    """Whether an index job of these inputs would make what is there."""
    kind = options.index.kind
    settings = served.settings in (None, _kept_settings(options))  # None: of versions that kept none
    return served.inputs == inputs and settings and kind in (None, served.snapshot.index.get("kind"))


def _whole(store: ReleaseStore, served: Manifest) -> bool:
    """Whether it is in service and can be served; a damaged release is made again from the same inputs."""
    try:
        store.verify(served.catalog, served.release_id)
        return store.current(served.catalog) == served.release_id
    except ReleaseError:
        return False


def _kept_settings(options: Options) -> dict[str, Any]:
    """What the manifest keeps of how it was indexed. Queries are files of the user's and stay there."""
    return {"index": options.index.model_dump(mode="json"), "max_rejected": options.max_rejected}


def _with_kept(options: Options, served: Manifest) -> Options:
    """The options with the settings that the release in service was indexed by, where it kept any."""
    if served.settings is None:
        return options
    try:
        index = IndexSettings.model_validate(served.settings["index"])
        return replace(options, index=index, max_rejected=float(served.settings["max_rejected"]))
    except (KeyError, TypeError, ValueError):
        raise ReleaseError(
            f"release {served.release_id} was indexed by settings this version does not know; index again"
        ) from None


def _inputs(feed: Path, mapping: Mapping, models: Models, options: Options) -> dict[str, str]:
    with feed_errors(feed):
        if not feed.is_file():
            return {}  # reading it says what is wrong
        digest = file_digest(feed)
    return {
        "feed": digest,
        "mapping": value_digest(mapping.model_dump(mode="json")),
        "settings": _settings_digest(options),
        **_model_inputs(models),
    }


def _settings_digest(options: Options) -> str:
    settings = [
        options.index.model_dump(),
        options.max_rejected,
        options.queries,
        [g.model_dump() for g in options.golden],
        options.synonyms.model_dump() if options.synonyms else None,
    ]
    made = [str(CATALOG_SCHEMA), PRODUCT_TEXT_VERSION, FORMAT, WEIGHTS, version("tandem-retrieval")]
    return value_digest([settings, *made])


def _model_inputs(models: Models) -> dict[str, str]:
    tower, ranker = BiEncoder.open(models.encoder), Ranker.open(models.ranker) if models.ranker else None
    final = {"final": FinalScore.open(models.final).digest} if models.final else {}
    halves = [*tower.halves(), *(ranker.halves() if ranker else [])]
    half = {"half": value_digest([file_digest(path) for path in halves])} if halves else {}
    return {"encoder": tower.digest, "ranker": ranker.digest if ranker else "", **final, **half}


def _place(tower: BiEncoder, device: Device) -> Place:
    if device == "auto" and not has_half(tower.model_path("item")):
        return "cpu"
    return chosen_device(device)


def _held_out(columns: ProductTable, tower: BiEncoder, queries: tuple[str, ...]) -> NDArray[np.float32]:
    """Vectors of shape (q, d) of the user's held-out queries, or of short ones made of titles' words."""
    texts = list(queries) or _title_queries(columns)
    return embed_all(OnnxModel(tower.model_path("query")), tower.tokenize_queries(texts))


def _title_queries(columns: ProductTable) -> list[str]:
    random = np.random.default_rng(0)
    rows = random.choice(len(columns), min(_HELD_OUT_QUERIES, len(columns)), replace=False)
    titles = [columns.row(int(row), ["title"])["title"].split() for row in rows]
    lengths = random.integers(2, 6, len(titles))
    return [" ".join(words[:length]) for words, length in zip(titles, lengths, strict=True)]


def read_queries(path: Path) -> tuple[str, ...]:
    """Held-out queries from a text file, one a line. Raises FeedError when there are none."""
    queries = tuple(line for line in map(fold_text, _lines(path, "a text file with one query a line")) if line)
    if not queries:
        raise FeedError(f"{path}: holds no query; give one a line")
    return queries


def read_golden(path: Path) -> tuple[GoldenQuery, ...]:
    """Golden queries from a JSONL file. Raises FeedError with the first line at fault."""
    result = []
    for number, line in enumerate(_lines(path, "JSONL with query, product_id and within"), 1):
        if not line.strip():
            continue
        try:
            result.append(GoldenQuery.model_validate_json(line))
        except ValidationError as error:
            raise FeedError(
                f"{path}, line {number}: {error.errors()[0]['msg']}; give query, product_id, within"
            ) from None
    return tuple(result)


def _lines(path: Path, wanted: str) -> list[str]:
    if not path.is_file():
        raise FeedError(f"{path}: no such file; give {wanted}")
    try:
        return path.read_text("utf-8").split("\n")
    except UnicodeDecodeError:
        raise FeedError(f"{path}: is not UTF-8; give {wanted}") from None
    except OSError as error:
        raise FeedError(f"{path}: cannot be read: {error.strerror or error}") from None
