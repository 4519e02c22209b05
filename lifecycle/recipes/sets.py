"""Reads the sets of a recipe and normalises them for mixing: ids with their source's name, grades from 0 to 1."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.table import ProductTable
from core.digest import file_digest, value_digest
from core.errors import FeedError
from core.progress import Steps
from core.strings import query_key
from evaluation.judgments import JUDGMENTS_SCHEMA, load_judgments
from indexer.products import clean_feed
from lifecycle.examples.augment import Augmentation, augment, clean_judgments, held_out_keys
from lifecycle.examples.products import Products
from lifecycle.examples.pseudo import PseudoQuerySettings, pseudo_queries
from lifecycle.feeds import read_mapping
from lifecycle.recipes.recipe import FinalStage, RecipeSource
from lifecycle.training.data import known_judgments

_MAPPINGS = "mappings"


@dataclass(frozen=True)
class TrainingSet:
    """One source: its products, its judgments, and its pseudo queries, both of `JUDGMENTS_SCHEMA`."""

    source: RecipeSource
    products: Products
    judgments: pa.Table
    generated: pa.Table
    digests: dict[str, str]

    @property
    def texts(self) -> dict[str, str]:
        """Product texts by id."""
        return dict(zip(self.products.ids, self.products.texts, strict=True))


def read_sets(sources: Sequence[RecipeSource], data: Path, seed: int, steps: Steps) -> list[TrainingSet]:
    """All sources. No query made up is one to validate or test on, in any of them. Raises FeedError."""
    for source in sources:
        for name in filter(None, (source.catalog, source.judgments)):
            if not (data / name).is_file():
                raise FeedError(f"{data / name}: no such file; the recipe learns from it, below the folder --data")
    judged = {
        source.name: clean_judgments(load_judgments(data / source.judgments, to_learn=True))
        for source in sources
        if source.judgments
    }
    forbidden = {key for table in judged.values() for key in held_out_keys(table)}
    return [_read(source, judged.get(source.name), data, forbidden, seed, steps) for source in sources]


def mixed(sets: Iterable[TrainingSet], final: FinalStage | None = None, seed: int = 0) -> pa.Table:
    """The judgments of several sets as one table, without train queries that are held out in any of them.

    With the `final` stage, of the sets that are not for it alone only the queries to replay are taken, all together.
    """
    chosen = list(sets)
    tables = [entry.judgments for entry in chosen if len(entry.judgments)]
    forbidden = {key for table in tables for key in held_out_keys(table)}
    if final is not None:
        early = [entry.judgments for entry in chosen if len(entry.judgments) and not entry.source.final_only]
        tables = [entry.judgments for entry in chosen if len(entry.judgments) and entry.source.final_only]
        tables += [_some_queries(pa.concat_tables(early), final, seed)] if early else []
    table = pa.concat_tables(tables)
    train = pc.equal(table["split"], "train")
    torn = pa.array([query_key(query) in forbidden for query in table["query"].to_pylist()])
    return table.filter(pc.invert(pc.and_(train, torn)))


def varied(table: pa.Table, settings: Augmentation) -> pa.Table:
    """Train judgments and, of the queries that `augment` varies, those of the variants, about the same products."""
    train = table.filter(pc.equal(table["split"], "train"))
    queries = train["query"].unique().to_pylist()
    variants = dict(zip(queries, augment(queries, settings, held_out_keys(table)), strict=True))
    written = [variants[query] for query in train["query"].to_pylist()]
    changed = pa.array([variant != query for variant, query in zip(written, train["query"].to_pylist(), strict=True)])
    more = train.set_column(0, "query", pa.array(written, pa.string())).filter(changed)
    return pa.concat_tables([table, more])


def _some_queries(table: pa.Table, final: FinalStage, seed: int) -> pa.Table:
    """The judgments of as many train queries, drawn, and queries to validate on as are to replay; all to test on."""
    random = np.random.default_rng(seed)
    parts = [table.filter(pc.equal(table["split"], "test"))]
    for split, wanted in (("train", final.replay), ("valid", final.replay_valid)):
        some = table.filter(pc.equal(table["split"], split))
        queries = some["query"].unique().to_pylist()
        drawn = pa.array([queries[place] for place in random.permutation(len(queries))[:wanted]], pa.string())
        parts.append(some.filter(pc.is_in(some["query"], drawn)))
    return pa.concat_tables(parts)


def _read(
    source: RecipeSource, judged: pa.Table | None, data: Path, forbidden: set[str], seed: int, steps: Steps
) -> TrainingSet:
    mapping = read_mapping(mapping_file(source, data), source.name)
    with tempfile.TemporaryDirectory(prefix="tandem-recipe-") as work, steps.step(f"read {source.name}") as report:
        columns = ProductTable(clean_feed(data / source.catalog, mapping, Path(work), report).columns)
        catalog = pa.Table.from_batches(list(columns.batches()))
        plain = Products.from_catalog(catalog, mapping.catalog.language)
        generated = _made_up(source, catalog, forbidden, seed)
    products = replace(plain, ids=[_named(source, name) for name in plain.ids])
    judgments = JUDGMENTS_SCHEMA.empty_table()
    digests = {f"{source.name} catalog": file_digest(data / source.catalog)}
    digests[f"{source.name} mapping"] = value_digest(mapping.model_dump(mode="json"))
    if judged is not None and source.judgments is not None:
        judgments = _from_0_to_1(source, known_judgments(judged, set(plain.ids), data / source.judgments))
        digests[f"{source.name} judgments"] = file_digest(data / source.judgments)
    return TrainingSet(source, products, judgments, generated, digests)


def mapping_file(source: RecipeSource, data: Path) -> Path | None:
    """The file below the data folder, else the bundled one. Raises FeedError when neither exists."""
    if source.mapping is None:
        return None
    packaged = Path(str(files("lifecycle.recipes"))) / _MAPPINGS / source.mapping
    for path in (data / source.mapping, packaged):
        if path.is_file():
            return path
    raise FeedError(f"{data / source.mapping}: no such file; source {source.name} is mapped by it")


def _made_up(source: RecipeSource, catalog: pa.Table, forbidden: set[str], seed: int) -> pa.Table:
    """Each query made up, with the product it was made of as a good one to train on."""
    if not source.pseudo:
        return JUDGMENTS_SCHEMA.empty_table()
    generated = pseudo_queries(
        catalog, (), PseudoQuerySettings(queries=source.pseudo, per_product=1, seed=seed), forbidden
    )
    columns = {
        "query": generated["query"],
        "product_id": pa.array([_named(source, name) for name in generated["product_id"].to_pylist()], pa.string()),
        "grade": pa.array(np.ones(len(generated))),
        "split": pa.array(["train"] * len(generated), pa.string()),
    }
    return pa.table(columns, schema=JUDGMENTS_SCHEMA)


def _from_0_to_1(source: RecipeSource, table: pa.Table) -> pa.Table:
    """Grades as their place in the range of the source's grades, so that those of several can be mixed."""
    low, high = pc.min_max(table["grade"]).as_py().values()
    grades = (table["grade"].to_numpy() - low) / max(high - low, 1e-9)
    ids = pa.array([_named(source, name) for name in table["product_id"].to_pylist()], pa.string())
    columns = {"query": table["query"], "product_id": ids, "grade": pa.array(grades), "split": table["split"]}
    return pa.table(columns, schema=JUDGMENTS_SCHEMA)


def _named(source: RecipeSource, product: str) -> str:
    return f"{source.name}/{product}"
