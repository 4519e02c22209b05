"""What a new service is shown with. A client of doubles answers, and a shell stands for training."""

import asyncio
import json
import shlex
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import ClassVar

import pytest
from builders import product, publish, write_columns
from doubles import make_release
from rich.console import Console

from core.errors import TandemError
from core.releases import ReleaseStore
from lifecycle import client as client_module
from lifecycle import tour as module
from lifecycle.background import Background
from lifecycle.improvement import IMPROVED_FILE, Improvement, ShopFiles, write_json
from lifecycle.sample.shop import EXAMPLE_QUERIES
from lifecycle.tour import Tour, TourQuery, Training, choose_queries
from retrieval.release.manager import ReleaseManager
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2


class Client:
    """Answers with the product that the release is named for; `releases` are those in service, call by call."""

    releases: ClassVar[list[str]] = []

    def __init__(self, address: str, timeout: float, *_: object, **credentials: object) -> None:
        assert address == "here:1"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait(self) -> None: ...

    def search(self, request: search_pb2.SearchRequest) -> search_pb2.SearchResponse:
        assert request.catalog == "shop"
        served = self.releases.pop(0) if len(self.releases) > 1 else self.releases[0]
        price = search_pb2.Money(currency_code="EUR", units=7)
        result = search_pb2.Product(title=f"thing of {served}", price=price)
        return search_pb2.SearchResponse(
            hits=[search_pb2.Hit(product_id="a", rank=1, product=result)], release_id=served
        )


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "releases")


@pytest.fixture
def shop(tmp_path: Path) -> ShopFiles:
    """Judgments of eleven test queries and one of training."""
    (tmp_path / "feed.csv").write_text("id,title\na,mug\n")
    rows = [f"query {i},{judged},test\n" for i in range(11) for judged in ("a,3", "b,0")] + ["learned,a,3,train\n"]
    (tmp_path / "judged.csv").write_text("query,product_id,grade,split\n" + "".join(rows))
    return ShopFiles(tmp_path / "feed.csv", None, tmp_path / "judged.csv")


def improvement(release: str | None, gain: float = 0.1) -> Improvement:
    before = {f"query {i}": 0.4 + i / 100 for i in range(11)}
    after = {query: value + gain for query, value in before.items()}
    return Improvement.compare("shop", "test", "r-1", before, after).model_copy(update={"release": release})


class Stage:
    """A tour, what it prints, and what training does: writes what it came to, or whatever shell is given."""

    def __init__(self, shop: ShopFiles, store: ReleaseStore, folder: Path, releases: list[str]) -> None:
        Client.releases = releases
        self.shop, self.store, self.folder = shop, store, folder / "trained"
        self.folder.mkdir()
        self.background = Background(folder / "training.log")
        self.console = Console(file=StringIO(), width=100)
        self.announced: list[str] = []

    def tour(self, *commands: str) -> Tour:
        training = Training([["sh", "-c", text] for text in commands], self.folder) if commands else None
        return Tour(self.console, self.shop, self.store, "shop", training, self.background)

    def run(self, *commands: str) -> str:
        self.tour(*commands).run("here:1", self._announce)
        return self.printed

    @property
    def printed(self) -> str:
        assert isinstance(self.console.file, StringIO)
        return self.console.file.getvalue()

    def leaves(self, result: Improvement) -> str:
        """The command of a training that comes to this."""
        payload = shlex.quote(json.dumps(result.model_dump(mode="json")))
        return f"echo step by step; printf %s {payload} > {self.folder / IMPROVED_FILE}"

    def _announce(self, release: str) -> None:
        self.announced.append(release)


@pytest.fixture
def stage(
    shop: ShopFiles, store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str]], Stage]:
    monkeypatch.setattr(client_module, "SearchClient", Client)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0)
    return lambda releases: Stage(shop, store, tmp_path, releases)


def test_five_test_queries_are_asked_spread_over_the_split(shop: ShopFiles, store: ReleaseStore) -> None:
    result = choose_queries(shop, store, "shop")
    assert [entry.query for entry in result] == ["query 0", "query 2", "query 4", "query 6", "query 8"]
    assert result[0].grades == {"a": 3.0, "b": 0.0}


def test_the_sample_shops_telling_queries_are_asked(tmp_path: Path, store: ReleaseStore) -> None:
    path = tmp_path / "judged.csv"
    rows = [f"{query},{judged},test\n" for query in ("first", *EXAMPLE_QUERIES, "last") for judged in ("a,1", "b,0")]
    path.write_text("query,product_id,grade,split\n" + "".join(rows))
    assert [entry.query for entry in choose_queries(ShopFiles(tmp_path, None, path), store, "shop")] == list(
        EXAMPLE_QUERIES
    )


def test_a_small_split_is_asked_whole(tmp_path: Path, store: ReleaseStore) -> None:
    path = tmp_path / "judged.csv"
    path.write_text("query,product_id,grade,split\nmug,a,1,test\nmug,b,0,test\nlamp,b,0,valid\n")
    assert choose_queries(ShopFiles(tmp_path, None, path), store, "shop") == [TourQuery("mug", {"a": 1.0, "b": 0.0})]


@pytest.mark.parametrize("judged", [False, True])
def test_without_test_queries_the_words_of_titles_are_asked(tmp_path: Path, store: ReleaseStore, judged: bool) -> None:
    titles = ["one two three four five", "lamp", *(f"mug {i}" for i in range(5))]
    columns = write_columns(tmp_path / "columns", [product(str(i), title) for i, title in enumerate(titles)])
    publish(store, tmp_path / "scratch", {"products.arrow": columns.read_bytes()})
    path = tmp_path / "judged.csv"
    path.write_text("query,product_id,grade,split\nmug,1,1,train\nmug,2,0,train\n")
    result = choose_queries(ShopFiles(tmp_path, None, path if judged else None), store, "shop")
    assert [entry.query for entry in result] == ["one two three four", "lamp", "mug 0", "mug 2", "mug 3"]


def test_after_training_the_answers_come_again_beside_the_first(stage: Callable[[list[str]], Stage]) -> None:
    at = stage(["r-1"] * 5 + ["r-1", "r-1", "r-2"])  # twice the old one answers still
    shown = at.run(at.leaves(improvement("r-2")))
    assert shown.count("thing of r-2") == 5 and shown.count("thing of r-1") == 10
    assert "training on the judgments" in shown and "  step by step" in shown
    lines = shown.splitlines()
    [both, *_] = [line for line in lines if "thing of r-1" in line and "thing of r-2" in line]
    assert both.split() == ["1", "thing", "of", "r-1", "7.00", "EUR", "3", "thing", "of", "r-2", "7.00", "EUR", "3"]
    assert "before 0.450" in " ".join(shown.split())
    assert "trained 0.550" in " ".join(shown.split()) and "gain +0.100" in " ".join(shown.split())
    assert "published as r-2, in place of r-1" in shown and at.announced == ["r-1", "r-2"]


def test_what_ranks_worse_is_told_and_not_waited_for(stage: Callable[[list[str]], Stage]) -> None:
    at = stage(["r-1"])
    shown = at.run(at.leaves(improvement(None, -0.1)))
    assert "gain -0.100" in " ".join(shown.split())
    assert "ranks worse, so it is not published" in shown and shown.count("thing of r-1") == 5


def test_what_was_trained_before_is_shown_and_not_trained_again(stage: Callable[[list[str]], Stage]) -> None:
    at = stage(["r-2"])
    (at.store.path("shop", "r-2")).mkdir(parents=True)
    write_json(at.folder / IMPROVED_FILE, improvement("r-2").model_dump(mode="json"))
    shown = at.run(f"touch {at.folder / 'begun'}")
    assert "published as r-2" in shown and not (at.folder / "begun").exists() and at.announced == ["r-2"]


def test_what_was_trained_for_a_release_that_is_gone_is_done_again(stage: Callable[[list[str]], Stage]) -> None:
    at = stage(["r-1"] * 5 + ["r-3"])
    write_json(at.folder / IMPROVED_FILE, improvement("r-2").model_dump(mode="json"))
    assert "published as r-3" in at.run(at.leaves(improvement("r-3")))


def test_without_judgments_nothing_is_trained(stage: Callable[[list[str]], Stage]) -> None:
    at = stage(["r-1"])
    shown = at.run()
    assert "no judgments given: nothing is trained" in shown and at.announced == ["r-1"]


def test_a_training_that_fails_is_one_line_that_says_why(
    stage: Callable[[list[str]], Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    at = stage(["r-1"])
    tour = at.tour("echo 'Traceback' >&2; echo 'tandem: no split valid' >&2; exit 2", f"touch {at.folder / 'begun'}")
    tour._run_safely("here:1", lambda _: None)
    assert capsys.readouterr().err == (
        f"tandem: training failed, {at.background.log} has more: no split valid; the service goes on\n"
    )
    assert not (at.folder / "begun").exists() and at.printed.count("thing of r-1") == 5


def test_a_training_that_says_nothing_has_its_status_told(stage: Callable[[list[str]], Stage]) -> None:
    with pytest.raises(TandemError, match="it ended with status 7"):
        stage(["r-1"]).run("exit 7")


def test_a_stop_while_training_ends_all_without_a_word(
    stage: Callable[[list[str]], Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    at = stage(["r-1"])
    tour = at.tour(f"echo up; touch {at.folder / 'up'}; sleep 600", f"touch {at.folder / 'second'}")
    tour.start("here:1", lambda _: None)
    thread = tour._thread
    assert thread is not None
    while not (at.folder / "up").exists():
        thread.join(0.01)
        assert thread.is_alive()
    tour.stop()
    assert not thread.is_alive() and not (at.folder / "second").exists() and capsys.readouterr().err == ""


def test_a_release_that_is_not_taken_up_is_told(
    stage: Callable[[list[str]], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SWAP_SECONDS", 0)
    at = stage(["r-1"])
    with pytest.raises(TandemError, match="release r-2 was published, and r-1 still answers"):
        at.run(at.leaves(improvement("r-2")))


async def test_answers_are_shown_as_a_client_gets_them(tmp_path: Path, store: ReleaseStore) -> None:
    rows = [product(str(i), f"title {i}") for i in range(40)]
    columns = write_columns(tmp_path / "columns", rows)
    publish(store, tmp_path / "scratch", {"products.arrow": columns.read_bytes()})
    holder = ReleaseManager(store, 60, lambda _, manifest: make_release(tmp_path, manifest=manifest))
    console = Console(file=StringIO(), width=80)
    announced: list[str] = []
    async with run_server(ServeSettings(releases=store.root, address="127.0.0.1:0", grace_seconds=0), holder) as server:
        tour = Tour(console, ShopFiles(tmp_path, None, None), store, "shop", None, Background(tmp_path / "log"))
        await asyncio.to_thread(tour.run, server.address, announced.append)
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert "“title 8”" in shown and "answers, " in shown and announced == [store.current("shop")]
    assert max(map(len, shown.splitlines())) <= 80
