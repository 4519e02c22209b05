"""The whole way in one command, without its indexing, serving and training: those have tests of their own."""

import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from builders import publish
from rich.console import Console
from shops import environment

from core.errors import FeedError
from core.releases import ReleaseStore
from indexer.job import IndexOutcome
from indexer.models import ModelFolders
from lifecycle import run
from lifecycle.improvement import ShopFiles
from lifecycle.run import _sample, _training, run_shop
from lifecycle.sample.shop import EXAMPLE_QUERIES
from lifecycle.tour import Training, choose_queries
from retrieval.server.settings import ServeSettings

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
def shop(tmp_path: Path) -> ShopFiles:
    """A feed, a mapping, and judgments."""
    (tmp_path / "feed.csv").write_text("id,title\na,mug\n")
    (tmp_path / "map.toml").write_text('[catalog]\nname = "shop"\n')
    (tmp_path / "judged.csv").write_text("query,product_id,grade,split\nmug,a,1,train\nmug,b,0,train\n")
    return ShopFiles(tmp_path / "feed.csv", tmp_path / "map.toml", tmp_path / "judged.csv")


def test_training_is_one_command_on_all_the_files(shop: ShopFiles, store: ReleaseStore) -> None:
    training = _training(shop, store, None)
    assert training is not None
    [command] = training.commands
    assert command[1:5] == ["-m", "lifecycle.cli", "improve", "--attached"]
    assert dict(zip(command[5::2], command[6::2], strict=True)) == {
        "--releases": str(store.root),
        "--catalog": str(shop.catalog),
        "--judgments": str(shop.judgments),
        "--mapping": str(shop.mapping),
        "--output": str(training.folder),
        "--track": str(store.root / "tracking"),
    }


def test_what_training_needs_is_made_ready_first(shop: ShopFiles, store: ReleaseStore) -> None:
    training = _training(shop, store, "make this 'and that'")
    assert training is not None and len(training.commands) == 2
    assert training.commands[0] == ["sh", "-c", "make this 'and that'"]


def test_tracking_set_elsewhere_is_left_to_the_training(
    shop: ShopFiles, store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_TRACKING__URI", "http://mlflow:5000")
    training = _training(shop, store, None)
    assert training is not None and not any("--track" in command for command in training.commands)


def test_every_state_of_the_files_has_a_folder_of_its_own(shop: ShopFiles, store: ReleaseStore) -> None:
    def folder() -> Path:
        training = _training(shop, store, None)
        assert training is not None
        return training.folder

    first = folder()
    assert folder() == first and first.parent == store.root / "trained"
    shop.catalog.write_text("id,title\na,cup\n")
    assert folder() != first


def test_without_judgments_there_is_nothing_to_train(shop: ShopFiles, store: ReleaseStore) -> None:
    assert _training(ShopFiles(shop.catalog, shop.mapping, None), store, "make ready") is None


@pytest.mark.parametrize("missing", ["feed.csv", "map.toml", "judged.csv"])
def test_a_file_that_is_not_there_is_named(
    shop: ShopFiles, store: ReleaseStore, console: Console, missing: str
) -> None:
    path = shop.catalog.with_name(missing)
    path.unlink()
    with pytest.raises(FeedError) as error:
        run_shop(serving(store), shop.catalog, shop.mapping, shop.judgments, console, _TRITON)
    assert str(error.value) == f"{path}: no such file"


def test_judgments_without_a_catalog_are_not_passed_over(
    shop: ShopFiles, store: ReleaseStore, console: Console
) -> None:
    for mapping, judgments in ((shop.mapping, None), (None, shop.judgments)):
        with pytest.raises(FeedError, match="give --catalog too"):
            run_shop(serving(store), None, mapping, judgments, console, _TRITON)


def test_judgments_that_cannot_be_used_are_told_before_anything_is_made(
    shop: ShopFiles, store: ReleaseStore, console: Console
) -> None:
    assert shop.judgments is not None
    shop.judgments.write_text("query,product\nmug,a\n")
    with pytest.raises(FeedError, match="no column grade, product_id"):
        run_shop(serving(store), shop.catalog, shop.mapping, shop.judgments, console, _TRITON)
    assert not store.root.exists()


def test_the_sample_is_made_once_and_told_in_one_line(tmp_path: Path, store: ReleaseStore, console: Console) -> None:
    shop = _sample(tmp_path / "sample", console)
    assert all(path.is_file() for path in shop.files) and len(shop.files) == 3
    [line] = [line for line in printed(console).splitlines() if line.startswith("sample shop:")]
    assert line.startswith(
        "sample shop: 3,000 products of 220 types, 1,020 queries (580 train, 160 valid, 280 test), "
    ) and line.endswith(f"judgments in {tmp_path / 'sample'}")
    assert [entry.query for entry in choose_queries(shop, store, "sample")] == list(EXAMPLE_QUERIES)
    written = shop.catalog.stat().st_mtime_ns
    assert _sample(tmp_path / "sample", console) == shop and shop.catalog.stat().st_mtime_ns == written


class FakeTour:
    """Stands for the tour: notes what it is given."""

    def __init__(self, *given: object) -> None:
        self.given = given
        self.calls: list[str] = []
        made.append(self)

    def start(self, address: str, announce: Callable[[str], None]) -> None:
        self.calls.append(f"start {address}")
        announce("r-1")

    def stop(self) -> None:
        self.calls.append("stop")


made: list[FakeTour] = []


@pytest.fixture
def indexed(store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Indexing, models and the tour are doubles; what was indexed."""
    made.clear()
    manifest = publish(store, tmp_path / "scratch", {"products.arrow": b"p"})
    given: list[tuple[object, ...]] = []
    monkeypatch.setattr(run, "index_feed", lambda *args: given.append(args) or IndexOutcome(manifest, None))
    monkeypatch.setattr(run, "resolve_models", lambda *_: ModelFolders(Path("untuned"), None))
    monkeypatch.setattr(run, "Tour", FakeTour)
    return given


def test_what_there_is_is_served_before_anything_is_trained(
    shop: ShopFiles,
    store: ReleaseStore,
    console: Console,
    indexed: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def serve(settings: ServeSettings, ready: Callable[[str, dict[str, str]], None]) -> None:
        assert (settings.releases, settings.address) == (store.root, "127.0.0.1:50052") and not made[0].calls
        ready("127.0.0.1:50052", {"shop": "r-1"})

    monkeypatch.setattr(run, "run_service", serve)
    run_shop(serving(store, "127.0.0.1:50052"), shop.catalog, shop.mapping, shop.judgments, console, _TRITON, "ready")
    [(feed, mapping, models, *_)] = indexed
    assert (feed, mapping.catalog.name, models) == (shop.catalog, "shop", ModelFolders(Path("untuned"), None))  # type: ignore[attr-defined]
    [tour] = made
    assert tour.calls == ["start 127.0.0.1:50052", "stop"]
    training = tour.given[4]
    assert isinstance(training, Training) and len(training.commands) == 2
    assert "tandem: serving release r-1 on 127.0.0.1:50052" in printed(console)
    assert printed(console).endswith("tandem: drained, good-bye\n")


def test_training_ends_with_a_service_that_fails(
    shop: ShopFiles,
    store: ReleaseStore,
    console: Console,
    indexed: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def serve(settings: ServeSettings, ready: object) -> None:
        raise FeedError("the port is taken")

    monkeypatch.setattr(run, "run_service", serve)
    with pytest.raises(FeedError, match="the port is taken"):
        run_shop(serving(store), shop.catalog, shop.mapping, shop.judgments, console, _TRITON)
    assert made[0].calls == ["stop"]


def test_it_begins_without_what_training_needs(shop: ShopFiles, tmp_path: Path) -> None:
    """Serving is installed first: here the others cannot be imported, though they are there."""
    assert shop.judgments is not None
    code = f"""
import sys
needed = ["torch", "transformers", "sentence_transformers", "datasets", "peft", "ir_measures", "onnxmltools", "mlflow"]
sys.modules.update(dict.fromkeys(needed))  # importing them fails
from pathlib import Path
import encoder.bundled, lifecycle.cli.app, lifecycle.run, lifecycle.tour, retrieval.server.main
from lifecycle.improvement import ShopFiles, read_improvement
from lifecycle.tour import choose_queries
judged = Path({str(shop.judgments)!r})
judged.write_text("query,product_id,grade,split\\nmug,a,1,test\\nmug,b,0,test\\n")
assert [entry.query for entry in choose_queries(ShopFiles(judged, None, judged), None, "shop")] == ["mug"]
assert read_improvement(judged.parent) is None
"""
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
