"""Retrieval by words: this index beside other libraries, and what a whole release makes of errors, codes and time.

    python -m benchmarks.words --releases FOLDER --judgments FILE [--catalog NAME] [--split test] [--codes 500]

Asks the release in service. `engines` compares its lexical index with bm25s as it comes (English stop words, all fields
as one text) and, where it is installed, tantivy (English stemmer, with and without fuzzy terms): time to build and to
ask, bytes, quality. `errors` asks all queries with no, one and two typing errors (`lifecycle/examples/augment.py`).
`codes` asks for GTINs, model numbers and names with a number (the attribute `name`, of one word and of several), and
counts how often their product comes first. `cost` has the time of each stage of a request for ten products, one request
at a time, and of those together that words and the final score add to a request. Parameters and results go to
`benchmarks/results/words_<catalog>.json`.
"""

import argparse
import asyncio
import importlib
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.bm25 import PlainBM25
from benchmarks.common import latencies, save
from catalog.product import product_text
from core.errors import TandemError
from core.plan import Plan
from core.progress import Steps, ignore
from core.releases import ReleaseStore
from engine.lexical.index import LexicalIndex
from engine.lexical.query_parser import LexicalQueryParser
from evaluation.judgments import load_judgments
from evaluation.measures import Grades, estimate, full_ranking_measures, grade_range
from indexer.lexical import index_words
from lifecycle.cli.progress import Bars
from lifecycle.examples.augment import Augmentation, augment
from lifecycle.quality.evaluate import rows_by_stage, select_grades
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Admission
from retrieval.wire.request import Query
from text.synonyms import Synonyms

_DEPTH, _FEW = 100, 10
_ADDED = ("lexical", "fuse", "prerank", "arrange")
_MODEL = "name"
SearchFunction = Callable[[str], Sequence[int]]


def main() -> None:
    """Measures one release."""
    options = _options()
    steps = Bars(Console(stderr=True))
    store = ReleaseStore(options.releases)
    release = open_place(find_release(store, store.named(options.catalog), CURRENT))
    if release.words is None:
        raise TandemError(f"release {release.release_id} has no lexical index; run `tandem index` again")
    grades = select_grades(load_judgments(options.judgments), options.split) if options.judgments else {}
    results: dict[str, Any] = {}
    if grades:
        results["engines"] = _engines(release, grades, steps)
        results |= asyncio.run(_errors(release, grades, steps))
        results["cost"] = asyncio.run(_cost(release, grades, steps))
    codes = _codes(release, options.codes)
    for kind, products in codes.items():
        results.setdefault("codes", {})[kind] = asyncio.run(_share_first(release, kind, products, steps))
    parameters = {
        "products": release.products,
        "split": options.split,
        "queries": len(grades),
        "codes": {kind: len(products) for kind, products in codes.items()},
        "final score": release.final is not None,
        "ranker": release.ranker is not None,
    }
    print(save(f"words_{release.manifest.catalog}", parameters, results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, required=True)
    parser.add_argument("--catalog")
    parser.add_argument("--judgments", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--codes", type=int, default=500)
    return parser.parse_args()


def _engines(release: LoadedRelease, grades: Grades, steps: Steps) -> dict[str, Any]:
    texts = [product_text(release.columns.row(row)) for row in range(release.products)]
    makers: dict[str, Callable[[Path], SearchFunction]] = {
        "tandem": lambda folder: _own(release, folder),
        "bm25s": lambda _: _plain(texts),
    }
    if importlib.util.find_spec("tantivy"):
        makers["tantivy"] = lambda folder: _tantivy(texts, folder, fuzzy=False)
        makers["tantivy, fuzzy terms"] = lambda folder: _tantivy(texts, folder, fuzzy=True)
    results = {}
    for name, make in makers.items():
        with tempfile.TemporaryDirectory() as scratch, steps.step(f"words by {name}"):
            began = time.perf_counter()
            ask = make(Path(scratch))
            built = time.perf_counter() - began
            results[name] = _asked(ask, release, grades) | {
                "build_s": round(built, 2),
                "mib": round(sum(path.stat().st_size for path in Path(scratch).rglob("*")) / 2**20, 1),
            }
        print(name, results[name], flush=True)
    return results


def _asked(ask: SearchFunction, release: LoadedRelease, grades: Grades) -> dict[str, Any]:
    seconds, rankings = [], {}
    for query in islice(grades, 20):
        ask(query)  # the first ones pay for what is mapped and cached
    for query in grades:
        began = time.perf_counter()
        rows = ask(query)
        seconds.append(time.perf_counter() - began)
        rankings[query] = [release.columns.id(int(row)) for row in rows]
    return _quality(grades, rankings) | latencies(seconds)


def _quality(grades: Grades, rankings: Mapping[str, list[str]]) -> dict[str, Any]:
    lowest, highest = grade_range(grades)
    result = full_ranking_measures(grades, rankings, lowest, (lowest + highest) / 2)
    return {name: asdict(estimate(list(result[name].values()))) for name in ("nDCG@10", "recall@100")}


def _own(release: LoadedRelease, folder: Path) -> SearchFunction:
    index_report = index_words(release.columns, release.manifest.language, Synonyms(), folder, ignore)
    index = LexicalIndex(folder, list(index_report.weights), release.products)
    reader = LexicalQueryParser(index, release.manifest.language)
    return lambda query: index.search(reader.read(query).terms, index_report.weights, _DEPTH).rows.tolist()


def _plain(texts: Sequence[str]) -> SearchFunction:
    index = PlainBM25(texts)

    def ask(query: str) -> Sequence[int]:
        rows = index.search([query], _DEPTH).rows[0]
        return rows[rows >= 0].tolist()

    return ask


def _tantivy(texts: Sequence[str], folder: Path, fuzzy: bool) -> SearchFunction:
    tantivy: Any = importlib.import_module("tantivy")
    schema = tantivy.SchemaBuilder().add_unsigned_field("row", stored=True)
    schema = schema.add_text_field("text", tokenizer_name="en_stem").build()
    index = tantivy.Index(schema, path=str(folder))
    writer = index.writer(num_threads=1)
    for row, text in enumerate(texts):
        writer.add_document(tantivy.Document(row=row, text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()
    fields = {"text": (False, 1, True)} if fuzzy else {}

    def ask(query: str) -> Sequence[int]:
        words = " ".join("".join(c if c.isalnum() else " " for c in query).split()).lower()
        if not words:
            return []
        parsed, _ = index.parse_query_lenient(words, ["text"], fuzzy_fields=fields)
        return [searcher.doc(address)["row"][0] for _, address in searcher.search(parsed, _DEPTH).hits]

    return ask


async def _errors(release: LoadedRelease, grades: Grades, steps: Steps) -> dict[str, Any]:
    """By number of errors and by stage."""
    results: dict[str, Any] = {"errors": {}}
    typed = dict(zip(grades, grades, strict=True))
    for errors in range(3):
        with steps.step(f"ask with {errors} errors") as report:
            rankings = await _ask_all(release, typed, report)
        results["errors"][errors] = {stage: _quality(grades, result) for stage, result in rankings.items()}
        again = augment(list(typed.values()), Augmentation(typing=1, dropped=0, reordered=0, seed=errors))
        typed = dict(zip(grades, again, strict=True))
    for errors in (1, 2):
        for stage, result in results["errors"][errors].items():
            clean = results["errors"][0][stage]["nDCG@10"]["mean"]
            result["share of clean nDCG@10"] = round(result["nDCG@10"]["mean"] / clean, 4)
    for errors, stages in results["errors"].items():
        print(errors, {stage: round(result["nDCG@10"]["mean"], 4) for stage, result in stages.items()}, flush=True)
    return results


async def _cost(release: LoadedRelease, grades: Grades, steps: Steps) -> dict[str, Any]:
    """Each stage's time, and that of all which words and the final score add to a request."""
    seconds: dict[str, list[float]] = {}
    with Admission(1).enter() as permit, steps.step("ask for ten") as report:
        for done, query in enumerate(grades, 1):
            answer = await search(Query(query, top_k=_FEW), Plan(), release, permit, None)
            for entry in answer.stages:
                seconds.setdefault(entry.name, []).append(entry.seconds)
            together = sum(entry.seconds for entry in answer.stages if entry.name in _ADDED)
            seconds.setdefault(" + ".join(_ADDED), []).append(together)
            report(done, len(grades))
    result = {stage: latencies(each) for stage, each in seconds.items()}
    print("cost", result, flush=True)
    return result


async def _ask_all(
    release: LoadedRelease, typed: Mapping[str, str], report: Callable[[int, int], None]
) -> dict[str, dict[str, list[str]]]:
    """Rankings by stage and query; `typed` replaces each query."""
    rankings: dict[str, dict[str, list[str]]] = {}
    with Admission(1).enter() as permit:
        for done, (query, text) in enumerate(typed.items(), 1):
            answer = await search(Query(text, top_k=_DEPTH), Plan(), release, permit, None)
            for stage, rows in rows_by_stage(answer, release).items():
                rankings.setdefault(stage, {})[query] = [release.columns.id(row) for row in rows]
            report(done, len(typed))
    return rankings


def _codes(release: LoadedRelease, count: int) -> dict[str, dict[str, str]]:
    """By kind, codes that stand in one product alone, and its id: half of `count` of each kind, drawn."""
    by_kind: dict[str, dict[str, str]] = {"GTINs": {}, "model numbers": {}, "names": {}}
    twice: set[str] = set()
    for row in range(release.products):
        product = release.columns.row(row, ["id", "gtin", "attributes"])
        model = dict(product["attributes"] or ()).get(_MODEL, "")
        for kind, code in (("GTINs", product["gtin"]), ("names" if " " in model else "model numbers", model)):
            if code and any(character.isdigit() for character in code) and len(code) >= 5:
                if code.casefold() in twice:
                    by_kind[kind].pop(code, None)
                else:
                    twice.add(code.casefold())
                    by_kind[kind][code] = product["id"]
    random = np.random.default_rng(0)
    chosen: dict[str, dict[str, str]] = {}
    for kind, codes in by_kind.items():
        names = sorted(codes)
        places = random.permutation(len(names))[: count // 2]
        if len(places):
            chosen[kind] = {names[place]: codes[names[place]] for place in places}
    return chosen


async def _share_first(release: LoadedRelease, kind: str, codes: Mapping[str, str], steps: Steps) -> dict[str, Any]:
    """Share of codes whose product stands first, by stage, and codes that miss as served."""
    with steps.step(f"ask for {kind}") as report:
        rankings = await _ask_all(release, {code: code for code in codes}, report)
    shares = {
        stage: round(float(np.mean([result[code][:1] == [codes[code]] for code in codes])), 4)
        for stage, result in rankings.items()
    }
    last = list(rankings)[-1]
    missed = [code for code in codes if rankings[last][code][:1] != [codes[code]]]
    print(kind, shares, missed[:10], flush=True)
    return {"first": shares, "missed": missed}


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"benchmark: {error}")
