"""Suggestions over a log of past queries: how soon they come, and how well beside the most popular prefix.

The log is made of real queries. Each real query is an intent; intents are asked by Zipf's law in an order drawn at
random, and each time one is asked, shoppers write it as it is, leave words out, swap two words, or mistype one.
Occurrences are drawn until the log has so many different texts. A tenth of the intents is never in the log. Further
occurrences, drawn of all intents, are held out; what of them stands in the log is reported apart from what does not.
A suggestion is right where its key is that of the query that is meant: what is typed may have an error, what is meant
has none.

    python -m benchmarks.suggest --data ~/data --work /tmp/suggest
"""

import argparse
import asyncio
import shutil
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.common import latencies, save
from core.plan import Plan
from core.progress import ignore
from core.strings import fold_text
from engine.suggest.files import write_suggestions
from engine.suggest.index import SuggestionIndex
from evaluation.comparison import sign_flip_p
from evaluation.measures import estimate
from indexer.suggestions import suggestion_entries
from lifecycle.sample.speech import add_typo
from retrieval.server.admission import Admission
from retrieval.server.call_server import CallServer
from retrieval.server.deadlines import Deadlines
from retrieval.server.service import SHORT_METHODS, SearchService
from retrieval.suggest.complete import complete
from retrieval.suggest.suggester import Suggester
from tandem.client import SearchClient
from tandem.v1 import search_pb2
from text.completion import completion_key, prefix_key

SETS = ("home_depot", "crowdflower")
LETTERS = (3, 4, 5)
_TOP = 10
_ZIPF_SHIFT = 2.7  # Mandelbrot's: the first few queries are about as frequent
_LEFT_OUT = 0.1
_WAYS = {"as it is": 0.6, "words left out": 0.27, "two words swapped": 0.08, "mistyped": 0.05}


Occurrence = tuple[str, str]
"""What is written, and what is meant."""


class QueryStream:
    """Occurrences of queries, drawn one after the other; the same seed always gives the same."""

    def __init__(self, intents: Sequence[str], seed: int, left_out: float = 0.0) -> None:
        """`left_out` is the share of intents that are never asked; the same ones for each seed."""
        order = list(intents)
        Random(0).shuffle(order)  # whatever the seed, so that all draws are of one distribution
        shares = 1 / (np.arange(len(order)) + 1 + _ZIPF_SHIFT)
        shares[np.random.default_rng(0).random(len(order)) < left_out] = 0
        self._intents, self._ends = order, np.cumsum(shares / shares.sum()).tolist()
        self._random = Random(seed)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """What is written, and what is meant by it: the same but for typing errors."""
        while True:
            place = bisect_left(self._ends, self._random.random())
            yield self._write(self._intents[min(place, len(self._intents) - 1)])

    def _write(self, intent: str) -> tuple[str, str]:
        random = self._random
        [way] = random.choices(list(_WAYS), list(_WAYS.values()))
        words = intent.split(" ")
        if way == "words left out" and len(words) > 1:
            kept = random.randint(1, len(words) - 1)
            words = [words[place] for place in sorted(random.sample(range(len(words)), kept))]
        elif way == "two words swapped" and len(words) > 1:
            one, other = random.sample(range(len(words)), 2)
            words[one], words[other] = words[other], words[one]
        text = " ".join(words)
        return (add_typo(text, random) if way == "mistyped" else text), text


class MostPopularPrefix:
    """The baseline: past queries that begin with what is typed, the most frequent first."""

    def __init__(self, log: Mapping[str, int]) -> None:
        counts: Counter[str] = Counter()
        for query, count in log.items():
            counts[completion_key(query)] += count
        self._best: dict[str, list[str]] = defaultdict(list)
        for key in sorted(counts, key=lambda key: (-counts[key], key)):
            for length in range(1, min(len(key), max(LETTERS) + 1) + 1):
                if len(best := self._best[key[:length]]) < _TOP:
                    best.append(key)

    def complete(self, key: str) -> list[str]:
        """Keys, best first."""
        return self._best.get(key, [])


def _intents(data: Path) -> list[str]:
    queries = (pq.read_table(data / name / "judgments.parquet")["query"].to_pylist() for name in SETS)
    folded = (fold_text(query).casefold() for some in queries for query in some)
    return list(dict.fromkeys(query for query in folded if completion_key(query)))


def _draw_log(intents: Sequence[str], different: int, seed: int) -> dict[str, int]:
    log: Counter[str] = Counter()
    for query, _ in QueryStream(intents, seed, _LEFT_OUT):
        log[query] += 1
        if len(log) == different:
            return dict(log)
    raise AssertionError


class _Titles:
    """The titles as `suggestion_entries` reads a product table."""

    def __init__(self, data: Path) -> None:
        self._titles = [t for n in SETS for t in pq.read_table(data / n / "products.parquet")["title"].to_pylist()]

    def __len__(self) -> int:
        return len(self._titles)

    def row(self, row: int, _: Sequence[str]) -> dict[str, str | None]:
        return {"title": self._titles[row], "brand": None, "product_type": None}


def _reciprocal_rank(suggested: Sequence[str], wanted: str) -> float:
    return 1 / (suggested.index(wanted) + 1) if wanted in suggested else 0.0


def _compare(held_out: Counter[Occurrence], index: SuggestionIndex, base: MostPopularPrefix) -> dict[str, Any]:
    """MRR@10 over occurrences, each given as what is typed and what is meant; the test flips all occurrences of the
    same together."""
    ours, theirs, weights = [], [], []
    for (typed, meant), times in held_out.items():
        if not (key := prefix_key(typed)):
            continue
        wanted = completion_key(meant)
        suggested = [completion_key(one.text) for one in complete(index, key, _TOP).suggestions]
        ours.append(_reciprocal_rank(suggested, wanted))
        theirs.append(_reciprocal_rank(base.complete(key), wanted))
        weights.append(times)
    count = np.array(weights, float)
    differences = (np.array(ours) - np.array(theirs)) * count / count.mean()
    interval = estimate(list(differences), 0)
    return {
        "queries": len(ours),
        "occurrences": int(count.sum()),
        "MRR@10": round(float(np.average(ours, weights=count)), 4),
        "MRR@10, most popular prefix": round(float(np.average(theirs, weights=count)), 4),
        "difference": round(interval.mean, 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "p": float(sign_flip_p(differences)),
    }


def compare(
    held_out: Counter[Occurrence], log: Mapping[str, int], index: SuggestionIndex, base: MostPopularPrefix
) -> dict[str, Any]:
    """A row for each part of the held-out occurrences and number of letters typed."""
    past = {completion_key(query) for query in log}
    rows = {}
    for name in ("all", "meant query in the log", "meant query not in the log", "typed without an error"):
        for letters in LETTERS:
            some: Counter[Occurrence] = Counter()
            for (written, meant), times in held_out.items():
                known = completion_key(meant) in past
                if name in ("all", f"meant query {'in' if known else 'not in'} the log") or (
                    name == "typed without an error" and meant.startswith(written[:letters])
                ):
                    some[written[:letters], meant] += times
            rows[f"{name}, {letters} letters"] = _compare(some, index, base)
    return rows


@contextmanager
def _in_thread(suggester: Suggester) -> Iterator[str]:
    """A server of the service's own parts, with these suggestions alone."""
    ready, ended = threading.Event(), asyncio.Event()
    loop, address = asyncio.new_event_loop(), []

    async def serve() -> None:
        manifest = SimpleNamespace(catalog="log")
        release = SimpleNamespace(suggester=suggester, release_id="r-log", manifest=manifest)

        @contextmanager
        def lease() -> Iterator[Any]:
            yield release

        manager: Any = SimpleNamespace(get=lambda _: SimpleNamespace(lease=lease))
        server = CallServer({Admission(32): SHORT_METHODS}, (), 5)
        server.add_generic_rpc_handlers((SearchService(manager, Plan(), Deadlines(1, 60)).handlers(),))
        address.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        ready.set()
        await ended.wait()
        await server.stop(1)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def _measure(index: SuggestionIndex, prefixes: Sequence[str]) -> dict[str, Any]:
    """Measures different prefixes, one after the other, so that none is cached."""
    prefixes = list(dict.fromkeys(prefixes))
    alone = []
    for prefix in prefixes:
        start = time.perf_counter()
        complete(index, prefix_key(prefix), 8)
        alone.append(time.perf_counter() - start)
    suggester = Suggester(index, "en")
    called = []
    with _in_thread(suggester) as address, SearchClient(address) as client:
        client.suggest(search_pb2.SuggestRequest(prefix="warm up"))
        for prefix in prefixes:
            start = time.perf_counter()
            client.suggest(search_pb2.SuggestRequest(prefix=prefix))
            called.append(time.perf_counter() - start)
    suggester.close()
    rows = {"lookup alone": latencies(alone), "call over a socket": latencies(called)}
    return {name: {"prefixes": len(prefixes), **row} for name, row in rows.items()}


def run(data: Path, work: Path, different: int, held_out: int, seed: int) -> Path:
    """Makes the log and the index, measures, and saves."""
    intents = _intents(data)
    log = _draw_log(intents, different, seed)
    drawn = iter(QueryStream(intents, seed + 1))
    occurrences = Counter(next(drawn) for _ in range(held_out))
    titles: Any = _Titles(data)
    start = time.perf_counter()
    entries = suggestion_entries(titles, "en", log, ignore)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_suggestions(entries, work)
    seconds = time.perf_counter() - start
    index, base = SuggestionIndex(work), MostPopularPrefix(log)
    prefixes = [query[:letters] for query, _ in list(occurrences)[:1500] for letters in LETTERS]
    results = {
        "latency": _measure(index, prefixes),
        "quality": compare(occurrences, log, index, base),
        "index": {
            "suggestions": len(index),
            "mib": round(sum(path.stat().st_size for path in work.iterdir()) / 2**20, 1),
            "seconds": round(seconds, 1),
        },
    }
    parameters = {
        "sets": SETS,
        "intents": len(intents),
        "past_queries": len(log),
        "past_occurrences": sum(log.values()),
        "held_out_occurrences": held_out,
        "ways_to_write_an_intent": _WAYS,
        "intents_left_out_of_the_log": _LEFT_OUT,
        "frequency_of_intents": f"1 / (rank + {_ZIPF_SHIFT}), ranks drawn at random",
        "titles": len(titles),
        "letters": LETTERS,
        "seed": seed,
        "test": "sign flips, all occurrences of a query together",
    }
    return save("suggest", parameters, results)


def main() -> None:
    """Reads the options and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with home_depot and crowdflower")
    parser.add_argument("--work", type=Path, required=True, help="folder for the index, which is emptied")
    parser.add_argument("--past-queries", type=int, default=100_000)
    parser.add_argument("--held-out", type=int, default=6_000)
    parser.add_argument("--seed", type=int, default=300)
    options = parser.parse_args()
    print(run(options.data, options.work, options.past_queries, options.held_out, options.seed))


if __name__ == "__main__":
    main()
