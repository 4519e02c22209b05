"""The whole way in one command, without its training and indexing: those have tests of their own."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import product, publish, write_columns
from doubles import make_release
from rich.console import Console

from core.errors import FeedError, TandemError
from core.releases import ReleaseStore
from indexer.job import Models, Outcome
from lifecycle import run
from lifecycle.run import Shop, _ask, _final, _models, _queries, _sample, run_shop
from lifecycle.serving import announce
from retrieval.holder import Holder
from retrieval.server import running
from retrieval.settings import ServeSettings

_TRITON = Path("no server")


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "releases")


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=120)


def serving(store: ReleaseStore, address: str = "127.0.0.1:0") -> ServeSettings:
    return ServeSettings(releases=store.root, address=address)


def printed(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A feed, a mapping, and judgments of eleven test queries and one of training, each twice."""
    (tmp_path / "feed.csv").write_text("id,title\na,mug\n")
    (tmp_path / "map.toml").write_text('[catalog]\nname = "shop"\n')
    rows = [f"query {i},{judged},test\n" for i in range(11) for judged in ("a,1", "b,0")] + ["learned,a,1,train\n"]
    (tmp_path / "judged.csv").write_text("query,product_id,grade,split\n" + "".join(rows))
    return Shop(tmp_path / "feed.csv", tmp_path / "map.toml", tmp_path / "judged.csv")


class Training:
    """Stands for the child process: notes its command and leaves both models' reports, or fails."""

    def __init__(self, status: int = 0) -> None:
        self.commands: list[list[str]] = []
        self._status = status

    def run(self, command: list[str], check: bool) -> SimpleNamespace:
        self.commands.append(command)
        output = Path(command[command.index("--output") + 1])
        for model in ("encoder", "ranker"):
            (output / model).mkdir(parents=True, exist_ok=True)
            if not self._status:
                (output / model / "report.json").touch()
        return SimpleNamespace(returncode=self._status)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Training]:
    def install(status: int = 0) -> Training:
        training = Training(status)
        monkeypatch.setattr(run, "subprocess", training)
        return training

    return install


def test_five_test_queries_are_shown_spread_over_the_split(shop: Shop, store: ReleaseStore) -> None:
    assert _queries(shop, store, "shop") == ["query 0", "query 2", "query 4", "query 6", "query 8"]


def test_without_judgments_the_words_of_titles_are_asked(tmp_path: Path, store: ReleaseStore) -> None:
    titles = ["one two three four five", "lamp", *(f"mug {i}" for i in range(5))]
    columns = write_columns(tmp_path / "columns", [product(str(i), title) for i, title in enumerate(titles)])
    publish(store, tmp_path / "scratch", {"products.arrow": columns.read_bytes()})
    found = _queries(Shop(tmp_path, None, None), store, "shop")
    assert found == ["one two three four", "lamp", "mug 0", "mug 2", "mug 3"]


def test_a_small_split_is_shown_whole(tmp_path: Path, store: ReleaseStore) -> None:
    path = tmp_path / "judged.csv"
    path.write_text("query,product_id,grade,split\nmug,a,1,test\nmug,b,0,test\nlamp,b,0,valid\n")
    assert _queries(Shop(tmp_path, None, path), store, "shop") == ["mug"]


def test_both_models_are_trained_on_all_the_files_by_one_recipe(
    shop: Shop, store: ReleaseStore, console: Console, train: Callable[..., Training]
) -> None:
    training = train()
    models = _models(shop, store, console)
    assert models.ranker is not None and models.encoder.parent == models.ranker.parent
    (command,) = training.commands
    assert command[1:4] == ["-m", "lifecycle.cli", "train"]
    assert dict(zip(command[4::2], command[5::2], strict=True)) == {
        "--recipe": "sample",
        "--catalog": str(shop.catalog),
        "--judgments": str(shop.judgments),
        "--mapping": str(shop.mapping),
        "--output": str(models.encoder.parent),
        "--track": str(store.root / "tracking"),
    }


def test_tracking_set_elsewhere_is_left_to_the_training(
    shop: Shop, store: ReleaseStore, console: Console, train: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_TRACKING__URI", "http://mlflow:5000")
    training = train()
    _models(shop, store, console)
    assert not any("--track" in command for command in training.commands)


def test_trained_models_are_used_again_until_a_file_changes(
    shop: Shop, store: ReleaseStore, console: Console, train: Callable[..., Training]
) -> None:
    training = train()
    first = _models(shop, store, console)
    assert _models(shop, store, console) == first and len(training.commands) == 1
    shop.catalog.write_text("id,title\na,cup\n")
    assert _models(shop, store, console) != first and len(training.commands) == 2


def test_a_model_whose_training_was_cut_off_is_trained_again(
    shop: Shop, store: ReleaseStore, console: Console, train: Callable[..., Training]
) -> None:
    train()
    ranker = _models(shop, store, console).ranker
    assert ranker is not None
    (ranker / "report.json").unlink()
    ranker.rmdir()
    training = train()
    _models(shop, store, console)
    assert len(training.commands) == 1


def test_the_final_score_is_learned_once_beside_the_models(
    shop: Shop, store: ReleaseStore, console: Console, train: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    models = _models(shop, store, console)
    asked: list[Path] = []

    def learn(_store: ReleaseStore, catalog: str, judgments: Path, split: str, output: Path, *_: object) -> None:
        assert (catalog, judgments, split) == ("shop", shop.judgments, "valid")
        asked.append(output)
        output.mkdir()
        (output / "final.json").touch()

    monkeypatch.setattr("lifecycle.final.train_final", learn)
    monkeypatch.setattr(run, "show_final", lambda *_: None)
    assert _final(shop, store, models, "shop", console) == models.encoder.parent / "final"
    again = _models(shop, store, console)
    assert again.final == _final(shop, store, again, "shop", console) == asked[0] and len(asked) == 1


def test_too_few_queries_leave_the_shop_without_a_final_score(
    shop: Shop, store: ReleaseStore, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise FeedError("split 'valid' has 0 queries")

    monkeypatch.setattr("lifecycle.final.train_final", refuse)
    models = Models(Path("encoder"), None)
    assert _final(shop, store, models, "shop", console) is None
    assert "no final score: split 'valid' has 0 queries" in printed(console)
    assert _final(Shop(shop.catalog, None, None), store, models, "shop", console) is None


def test_training_that_fails_ends_the_way(
    shop: Shop, store: ReleaseStore, console: Console, train: Callable[..., Training]
) -> None:
    training = train(3)
    with pytest.raises(TandemError, match="training ended with status 3"):
        _models(shop, store, console)
    assert len(training.commands) == 1


def test_without_judgments_nothing_is_trained(
    shop: Shop, store: ReleaseStore, console: Console, train: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = train()
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(run, "resolve_models", lambda *given: asked.append(given) or Models(Path("served"), None))
    assert _models(Shop(shop.catalog, shop.mapping, None), store, console) == Models(Path("served"), None)
    assert asked == [(None, None, store, "shop")] and not training.commands
    assert "no judgments given" in printed(console)


@pytest.mark.parametrize("missing", ["feed.csv", "map.toml", "judged.csv"])
def test_a_file_that_is_not_there_is_named(shop: Shop, store: ReleaseStore, console: Console, missing: str) -> None:
    path = shop.catalog.with_name(missing)
    path.unlink()
    with pytest.raises(FeedError) as error:
        run_shop(serving(store), shop.catalog, shop.mapping, shop.judgments, console, _TRITON)
    assert str(error.value) == f"{path}: no such file"


def test_judgments_without_a_catalog_are_not_passed_over(shop: Shop, store: ReleaseStore, console: Console) -> None:
    for mapping, judgments in ((shop.mapping, None), (None, shop.judgments)):
        with pytest.raises(FeedError, match="give --catalog too"):
            run_shop(serving(store), None, mapping, judgments, console, _TRITON)


def test_the_sample_is_made_once_and_told_in_one_line(tmp_path: Path, console: Console) -> None:
    shop = _sample(tmp_path / "sample", console)
    assert all(path is not None and path.is_file() for path in (shop.catalog, shop.mapping, shop.judgments))
    [line] = [line for line in printed(console).splitlines() if line.startswith("sample shop:")]
    assert line == (
        "sample shop: 3,000 products of 220 types, 860 queries (520 train, 120 valid, 220 test), "
        f"25,333 judgments in {tmp_path / 'sample'}"
    )
    written = shop.catalog.stat().st_mtime_ns
    assert _sample(tmp_path / "sample", console) == shop and shop.catalog.stat().st_mtime_ns == written


def test_what_was_indexed_is_served_at_the_address(
    shop: Shop, store: ReleaseStore, console: Console, train: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    manifest = publish(store, store.root.parent / "scratch", {"products.arrow": b"p"})
    indexed: list[tuple[object, ...]] = []
    monkeypatch.setattr(run, "index_feed", lambda *given: indexed.append(given) or Outcome(manifest, None))
    served: list[ServeSettings] = []

    def serve(settings: ServeSettings, ready: object) -> None:
        served.append(settings)

    monkeypatch.setattr(run, "run_service", serve)
    monkeypatch.setattr(run, "_final", lambda *_: Path("final"))
    run_shop(serving(store, "127.0.0.1:50052"), shop.catalog, shop.mapping, shop.judgments, console, _TRITON)
    [(feed, mapping, models, *_), (*_, again, _, _, _)] = indexed
    assert feed == shop.catalog and mapping.catalog.name == "shop" and models == _models(shop, store, console)
    assert again == replace(models, final=Path("final"))  # published once more, with the score learned of the first
    assert [(settings.releases, settings.address) for settings in served] == [(store.root, "127.0.0.1:50052")]
    assert printed(console).endswith("tandem: drained, good-bye\n")


async def test_answers_are_shown_as_a_client_gets_them(tmp_path: Path, store: ReleaseStore, console: Console) -> None:
    publish(store, tmp_path / "scratch", {"products.arrow": b"p"})
    holder = Holder(store, 60, lambda _, manifest: make_release(tmp_path, manifest=manifest))
    async with running(ServeSettings(releases=store.root, address="127.0.0.1:0", grace_seconds=0), holder) as server:
        told = partial(announce, console, ServeSettings(), server.address, {"shop": "r-1"})
        await asyncio.to_thread(_ask, console, server.address, "shop", ["3 shoes", "4 mugs"], told)
    shown = printed(console)
    assert shown.index("3 shoes") < shown.index("4 mugs") < shown.index("tandem: serving release r-1")
    assert shown.count("whole call, as the client saw it") == 2 and "title 34" in shown
