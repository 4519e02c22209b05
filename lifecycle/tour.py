"""Shows a new service: its first answers, training beside it, the swap, and the answers again."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from catalog.table import ProductTable
from core.errors import TandemError
from core.releases import ReleaseStore
from evaluation.judgments import load_judgments
from lifecycle.background import Background
from lifecycle.cli.failures import describe_failure
from lifecycle.cli.show_tour import Grades, show_both, show_improvement, show_once, spread
from lifecycle.client import connect
from lifecycle.improvement import Improvement, ShopFiles, read_improvement
from lifecycle.sample.shop import EXAMPLE_QUERIES
from tandem.client import SearchClient
from tandem.v1 import search_pb2

_QUERIES = 5
_TOP = 5
_WORDS = 4
_DEADLINE = 5.0
_SWAP_SECONDS = 120.0
_POLL_SECONDS = 0.2

Answer = search_pb2.SearchResponse
Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TourQuery:
    """A query, and the grades of its products, by id, where there are any."""

    query: str
    grades: Grades = field(default_factory=dict)


def choose_queries(shop: ShopFiles, store: ReleaseStore, catalog: str) -> list[TourQuery]:
    """Five queries: the sample shop's examples, or some of the test split; without judgments, words of titles."""
    if shop.judgments is not None and (grades := _test_grades(shop.judgments)):
        texts = list(grades)
        examples = [query for query in EXAMPLE_QUERIES if query in grades]
        spread_out = [texts[place] for place in spread(len(texts), _QUERIES)]
        chosen = examples if len(examples) == len(EXAMPLE_QUERIES) else spread_out
        return [TourQuery(query, grades[query]) for query in chosen]
    current = store.current(catalog)
    assert current is not None, "called once a release serves"
    columns = ProductTable(store.path(catalog, current) / "products.arrow")
    titles = [columns.row(row, ["title"])["title"] for row in spread(len(columns), _QUERIES)]
    return [TourQuery(" ".join(title.split()[:_WORDS])) for title in titles]


def _test_grades(judgments: Path) -> dict[str, dict[str, float]]:
    """By query and product. Not `lifecycle.quality.evaluate`'s, which needs libraries of training."""
    table = load_judgments(judgments).select(["query", "product_id", "grade", "split"])
    grades: dict[str, dict[str, float]] = {}
    for query, product, grade, split in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if split == "test":
            grades.setdefault(query, {})[product] = grade
    return grades


@dataclass(frozen=True, slots=True)
class Training:
    """How to train: commands to run in order, and the folder into which the last one writes the result."""

    commands: Sequence[Sequence[str]]
    folder: Path


class Tour:
    """Runs on a thread of its own, since the service has the main one; a fault in it never ends the service."""

    def __init__(
        self,
        console: Console,
        shop: ShopFiles,
        store: ReleaseStore,
        catalog: str,
        training: Training | None,
        background: Background,
    ) -> None:
        """Without `training`, for lack of judgments, it ends with the first answers."""
        self._console = console
        self._shop = shop
        self._store = store
        self._catalog = catalog
        self._training = training
        self._background = background
        self._thread: threading.Thread | None = None

    def start(self, address: str, announce: Announce) -> None:
        """Starts, once the service answers at the address; `announce` prints how to query a release."""
        self._thread = threading.Thread(target=self._run_safely, args=(address, announce), name="tour", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the training, if it runs, and its display."""
        self._background.stop()
        if self._thread is not None:
            self._thread.join(_DEADLINE)

    def _run_safely(self, address: str, announce: Announce) -> None:
        try:
            self.run(address, announce)
        except Exception as error:
            if not self._background.stopped:
                print(f"tandem: {describe_failure(error)}; the service goes on", file=sys.stderr, flush=True)

    def run(self, address: str, announce: Announce) -> None:
        """Runs the whole tour. Raises TandemError when the service does not answer, or training fails."""
        with connect(address, _DEADLINE) as client:
            queries = choose_queries(self._shop, self._store, self._catalog)
            first = self._search(client, queries)
            for entry, answer in zip(queries, first, strict=True):
                show_once(self._console, entry.query, answer, entry.grades)
            announce(first[0].release_id)
            if self._training is None:
                self._print("no judgments given: nothing is trained, and the models stay as they are")
                return
            improvement = read_improvement(self._training.folder)
            if improvement is not None and improvement.is_current(self._store):
                show_improvement(self._console, improvement)
                return
            improvement = self._train(self._training)
            if improvement is None:
                return
            if improvement.release is not None:
                self._wait_for_release(client, improvement.release)
                second = self._search(client, queries)
                for entry, before, after in zip(queries, first, second, strict=True):
                    show_both(self._console, entry.query, before, after, entry.grades)
            show_improvement(self._console, improvement)
            if improvement.release is not None:
                announce(improvement.release)

    def _search(self, client: SearchClient, queries: Sequence[TourQuery]) -> list[Answer]:
        answers, start = [], time.monotonic()
        for entry in queries:
            request = search_pb2.SearchRequest(query=entry.query, top_k=_TOP, catalog=self._catalog)
            answers.append(client.search(request))
        each = (time.monotonic() - start) * 1000 / len(queries)
        self._print(f"\nrelease {answers[0].release_id} answers, {each:.0f} ms a query")
        if any(entry.grades for entry in queries):
            self._print("(grade: by the judgments, more is better; -: not judged)")
        self._print("")
        return answers

    def _train(self, training: Training) -> Improvement | None:
        """The result of the training; None when it was stopped."""
        self._print(
            "training on the judgments beside the service; Ctrl-C ends both, and the next run goes on from there"
        )
        with self._progress() as progress:
            for command in training.commands:
                status = self._background.run(command, progress)
                if status is None:
                    return None
                if status:
                    why = self._background.last_error().removeprefix("tandem: ") or f"it ended with status {status}"
                    raise TandemError(f"training failed, {self._background.log} has more: {why}")
        improvement = read_improvement(training.folder)
        if improvement is None:
            raise TandemError(f"training left nothing in {training.folder}")
        return improvement

    @contextlib.contextmanager
    def _progress(self) -> Iterator[Callable[[str], None]]:
        """Shows the latest line on a terminal, and every line elsewhere."""
        if not self._console.is_terminal:
            yield lambda line: self._print(f"  {line}")
            return
        with self._console.status("training") as status:
            yield lambda line: status.update(f"training: {line}")

    def _wait_for_release(self, client: SearchClient, release: str) -> None:
        """Waits until the service answers from the release."""
        request = search_pb2.SearchRequest(query="a", top_k=1, catalog=self._catalog)
        until = time.monotonic() + _SWAP_SECONDS
        while (served := client.search(request).release_id) != release:
            if self._background.stopped or time.monotonic() > until:
                raise TandemError(f"release {release} was published, and {served} still answers; the log says why")
            time.sleep(_POLL_SECONDS)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
