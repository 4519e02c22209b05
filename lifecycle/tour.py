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
from lifecycle.improvement import Improvement, Shop, read_improvement
from lifecycle.sample.shop import SHOWN
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
class Asked:
    """What is asked, and the grades of its products, by id, where there are any."""

    query: str
    grades: Grades = field(default_factory=dict)


def queries_of(shop: Shop, store: ReleaseStore, catalog: str) -> list[Asked]:
    """Five queries: of the test split, the sample shop's telling ones or spread over it; else titles' words."""
    if shop.judgments is not None and (grades := _test_grades(shop.judgments)):
        texts = list(grades)
        telling = [query for query in SHOWN if query in grades]
        chosen = telling if len(telling) == len(SHOWN) else [texts[place] for place in spread(len(texts), _QUERIES)]
        return [Asked(query, grades[query]) for query in chosen]
    current = store.current(catalog)
    assert current is not None, "asked once a release serves"
    columns = ProductTable(store.path(catalog, current) / "products.arrow")
    titles = [columns.row(row, ["title"])["title"] for row in spread(len(columns), _QUERIES)]
    return [Asked(" ".join(title.split()[:_WORDS])) for title in titles]


def _test_grades(judgments: Path) -> dict[str, dict[str, float]]:
    """By query and product. Not `lifecycle.quality.evaluate`'s, which needs what is installed for training."""
    table = load_judgments(judgments).select(["query", "product_id", "grade", "split"])
    grades: dict[str, dict[str, float]] = {}
    for query, product, grade, split in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if split == "test":
            grades.setdefault(query, {})[product] = grade
    return grades


@dataclass(frozen=True, slots=True)
class Training:
    """How to train: commands, run one after another, and the folder in which the last leaves what it came to."""

    commands: Sequence[Sequence[str]]
    folder: Path


class Tour:
    """Runs on a thread of its own, since the service runs on the main one; a fault in it never ends the service."""

    def __init__(
        self,
        console: Console,
        shop: Shop,
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
        """Called once the service answers at the address; `announce` says how to ask the release that does."""
        self._thread = threading.Thread(target=self._guarded, args=(address, announce), name="tour", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the training, if it runs, and what is shown of it."""
        self._background.stop()
        if self._thread is not None:
            self._thread.join(_DEADLINE)

    def _guarded(self, address: str, announce: Announce) -> None:
        try:
            self.run(address, announce)
        except Exception as error:
            if not self._background.stopped:
                print(f"tandem: {describe_failure(error)}; the service goes on", file=sys.stderr, flush=True)

    def run(self, address: str, announce: Announce) -> None:
        """All of it. Raises TandemError when the service does not answer, or training fails."""
        with connect(address, _DEADLINE) as client:
            queries = queries_of(self._shop, self._store, self._catalog)
            first = self._ask(client, queries)
            for asked, answer in zip(queries, first, strict=True):
                show_once(self._console, asked.query, answer, asked.grades)
            announce(first[0].release_id)
            if self._training is None:
                self._tell("no judgments given: nothing is trained, and the models stay as they are")
                return
            found = read_improvement(self._training.folder)
            if found is not None and found.stands(self._store):
                show_improvement(self._console, found)
                return
            found = self._train(self._training)
            if found is None:
                return
            if found.release is not None:
                self._await(client, found.release)
                second = self._ask(client, queries)
                for asked, before, after in zip(queries, first, second, strict=True):
                    show_both(self._console, asked.query, before, after, asked.grades)
            show_improvement(self._console, found)
            if found.release is not None:
                announce(found.release)

    def _ask(self, client: SearchClient, queries: Sequence[Asked]) -> list[Answer]:
        answers, start = [], time.monotonic()
        for asked in queries:
            request = search_pb2.SearchRequest(query=asked.query, top_k=_TOP, catalog=self._catalog)
            answers.append(client.search(request))
        each = (time.monotonic() - start) * 1000 / len(queries)
        self._tell(f"\nrelease {answers[0].release_id} answers, {each:.0f} ms a query")
        if any(asked.grades for asked in queries):
            self._tell("(grade: by the judgments, more is better; -: not judged)")
        self._tell("")
        return answers

    def _train(self, training: Training) -> Improvement | None:
        """None when it was stopped."""
        self._tell(
            "training on the judgments beside the service; Ctrl-C ends both, and the next run goes on from there"
        )
        with self._progress() as progress:
            for command in training.commands:
                status = self._background.run(command, progress)
                if status is None:
                    return None
                if status:
                    why = self._background.last_words().removeprefix("tandem: ") or f"it ended with status {status}"
                    raise TandemError(f"training failed, {self._background.log} has more: {why}")
        found = read_improvement(training.folder)
        if found is None:
            raise TandemError(f"training left nothing in {training.folder}")
        return found

    @contextlib.contextmanager
    def _progress(self) -> Iterator[Callable[[str], None]]:
        """Shows the latest line on a terminal, and every line elsewhere."""
        if not self._console.is_terminal:
            yield lambda line: self._tell(f"  {line}")
            return
        with self._console.status("training") as status:
            yield lambda line: status.update(f"training: {line}")

    def _await(self, client: SearchClient, release: str) -> None:
        """Until the service answers of the release."""
        request = search_pb2.SearchRequest(query="a", top_k=1, catalog=self._catalog)
        until = time.monotonic() + _SWAP_SECONDS
        while (served := client.search(request).release_id) != release:
            if self._background.stopped or time.monotonic() > until:
                raise TandemError(f"release {release} was published, and {served} still answers; the log says why")
            time.sleep(_POLL_SECONDS)

    def _tell(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
