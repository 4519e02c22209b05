"""Training on a shop's judgments, on tiny models: what is published, what is not, and what is not done twice."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tiny

from core.progress import Silent
from core.releases import ReleaseStore
from encoder.train.export import export_encoder
from encoder.train.settings import EncoderTraining
from indexer.cleaning.mapping import FeedMapping
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from indexer.models import ModelFolders
from lifecycle import improve as module
from lifecycle.improve import improve
from lifecycle.improvement import IMPROVED_FILE, Improvement, ShopFiles, read_improvement
from lifecycle.recipes import builtin as recipes
from lifecycle.recipes import stages
from lifecycle.recipes.recipe import Recipe, RecipeSource
from lifecycle.recipes.run import run_recipe
from lifecycle.tracking.tracker import NullTracker
from ranker.train.settings import RankerTraining

SHORT = {"max_steps": 2, "evaluations": 1, "batch_size": 8, "threads": 1, "validation_pairs": 60}
Values = Mapping[str, float]


def tiny_recipe(base: str) -> Recipe:
    return Recipe(
        name="tiny",
        sources=(RecipeSource(name="shop", catalog="c", judgments="j"),),
        towers=EncoderTraining(base=base, distractors=5, **SHORT),
        ranker=RankerTraining(base=base, layers=1, learning_rate=1e-3, **SHORT),
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.write_ranker_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def untuned(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untuned")
    export_encoder(base, folder, list(tiny.TEXTS.values()))
    return folder


def write_shop(folder: Path) -> ShopFiles:
    """The tiny shop, with the queries of its valid split asked otherwise for a test split."""
    tiny.write_shop(folder)
    table = tiny.judgments()
    test = table.filter(pc.equal(table["split"], "valid"))
    requests = pc.replace_substring(test["query"], "new ", "")
    test = test.set_column(0, "query", requests).set_column(3, "split", pa.array(["test"] * len(test)))
    pq.write_table(pa.concat_tables([table, test]), folder / "judgments.parquet")
    return ShopFiles(folder / "catalog.jsonl", None, folder / "judgments.parquet")


@pytest.fixture
def shop(tmp_path: Path) -> ShopFiles:
    return write_shop(tmp_path)


@pytest.fixture(scope="module")
def trained(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run was cut off once both models were trained."""
    folder = tmp_path_factory.mktemp("trained")
    shop = write_shop(folder)
    recipe = tiny_recipe(base).on(str(shop.catalog), str(shop.judgments))
    run_recipe(recipe, Path(), folder / "out", Silent(), NullTracker())
    return folder / "out"


@pytest.fixture
def output(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def store(shop: ShopFiles, untuned: Path, tmp_path: Path) -> ReleaseStore:
    """The shop in service with untuned towers."""
    store = ReleaseStore(tmp_path / "releases")
    index_feed(shop.catalog, FeedMapping(), ModelFolders(untuned, None), IndexOptions(), store, Silent())
    return store


@pytest.fixture
def measured(base: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], list[str]]:
    """The release in service is worth the first number and what is trained the second; lists whom it measures."""

    def install(before: float, after: float) -> list[str]:
        requests: list[str] = []

        async def served_ndcg(release: Any, _table: pa.Table, split: str, *_: Any) -> Values:
            requests.append(f"{split} {'trained' if release.ranker else 'untuned'}")
            return {"mug": after if release.ranker else before, "lamp": 0.5}

        monkeypatch.setattr(module, "served_ndcg", served_ndcg)
        return requests

    monkeypatch.setattr(recipes, "find_recipe", lambda _: tiny_recipe(base))
    return install


def run(shop: ShopFiles, store: ReleaseStore, output: Path) -> Improvement:
    return improve(shop, store, output, "tiny", Silent(), NullTracker(), print)


def test_the_ranker_keeps_as_many_layers_as_its_settings_say(trained: Path) -> None:
    config = json.loads((trained / "ranker" / "checkpoint" / "config.json").read_text())
    assert config["num_hidden_layers"] == 1  # of the base's two


def test_what_ranks_better_is_published_with_all_that_was_learned(
    shop: ShopFiles, store: ReleaseStore, output: Path, measured: Callable[[float, float], list[str]]
) -> None:
    requests, replaced = measured(0.4, 0.6), store.current("default")
    outcome = run(shop, store, output)
    assert requests == ["test untuned", "test trained"]
    assert outcome.release == store.current("default") != replaced and outcome.replaced == replaced
    assert (outcome.before.mean, outcome.after.mean) == pytest.approx((0.45, 0.55))
    assert outcome.gain.mean == pytest.approx(0.1)
    manifest = store.manifest("default", outcome.release or "")
    assert manifest.model.ranker is not None and manifest.model.final is not None
    assert (manifest.model.lineage or {}).keys() == {"encoder", "ranker"}
    assert read_improvement(output) == outcome and outcome.is_current(store)


def test_what_ranks_worse_is_not_published(
    shop: ShopFiles, store: ReleaseStore, output: Path, measured: Callable[[float, float], list[str]]
) -> None:
    measured(0.6, 0.4)
    serving = store.current("default")
    outcome = run(shop, store, output)
    assert outcome.release is None and store.current("default") == serving
    assert read_improvement(output) == outcome and outcome.is_current(store)


def test_a_run_that_was_cut_goes_on_and_compares_with_what_served_at_first(
    shop: ShopFiles,
    store: ReleaseStore,
    output: Path,
    measured: Callable[[float, float], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut off between publishing and telling of it: what serves then is what was trained."""
    requests, serving = measured(0.4, 0.6), store.current("default")
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_json", fail_at(IMPROVED_FILE))
        with pytest.raises(OSError, match="cut off"):
            run(shop, store, output)
    published = store.current("default")
    assert published != serving and read_improvement(output) is None
    trained: list[Path] = []
    monkeypatch.setattr(stages, "train_and_record", lambda *given: trained.append(given[2].output))
    outcome = run(shop, store, output)
    assert not trained and requests == ["test untuned", "test trained", "test trained"]
    assert (outcome.release, outcome.replaced) == (published, serving) and outcome.before.mean == pytest.approx(0.45)


def fail_at(name: str) -> Callable[[Path, Any], None]:
    write = module.write_json

    def writing(path: Path, value: Any) -> None:
        if path.name == name:
            raise OSError("cut off")
        write(path, value)

    return writing


def test_a_final_score_of_other_models_is_learned_anew(
    shop: ShopFiles, store: ReleaseStore, output: Path, measured: Callable[[float, float], list[str]]
) -> None:
    measured(0.4, 0.6)
    run(shop, store, output)
    final = output / "final" / "final.json"
    other = final.read_text().replace('"encoder":', '"encoder": "of another", "was":', 1)
    final.write_text(other)
    outcome = run(shop, store, output)
    assert "of another" not in final.read_text() and store.manifest("default", outcome.release or "").model.final


def test_too_few_queries_leave_it_without_a_final_score_and_are_measured_on_valid(
    shop: ShopFiles, store: ReleaseStore, output: Path, measured: Callable[[float, float], list[str]]
) -> None:
    assert shop.judgments is not None
    table = pq.read_table(shop.judgments)
    few = pc.or_(pc.equal(table["split"], "train"), pc.is_in(table["query"], pa.array(["new zorb red", "zorb red"])))
    pq.write_table(table.filter(few), shop.judgments)
    requests, lines = measured(0.4, 0.6), list[str]()
    shutil.rmtree(output)
    outcome = improve(shop, store, output, "tiny", Silent(), NullTracker(), lines.append)
    assert outcome.split == "valid" and requests[0] == "valid untuned"
    assert store.manifest("default", outcome.release or "").model.final is None
    [line] = lines
    assert line.startswith("no final score: split 'valid' has 1 queries with products of the catalog")


def test_publishing_embeds_nothing_again(
    shop: ShopFiles,
    store: ReleaseStore,
    output: Path,
    measured: Callable[[float, float], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured(0.4, 0.6)
    embedded: list[int | None] = []
    job = module.index_feed

    def noted(*given: Any) -> Any:
        outcome = job(*given)
        embedded.append(outcome.embedded)
        return outcome

    monkeypatch.setattr(module, "index_feed", noted)
    run(shop, store, output)
    assert embedded == [len(tiny.TEXTS), 0, 0]  # the candidate, with its final score, and published


ATTACHED = "import sys, threading; from lifecycle.improve import end_with; end_with(sys.stdin.fileno())"


def test_it_ends_well_by_itself_while_that_process_goes_on() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", f"{ATTACHED}; print('done')"], **pipes) as child:
        assert child.stdout is not None and child.stderr is not None
        assert (child.stdout.read(), child.stderr.read(), child.wait(30)) == (b"done\n", b"", 0)


def test_it_ends_with_the_process_that_started_it() -> None:
    code = f"{ATTACHED}; print('up', flush=True); threading.Event().wait()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == b"up\n" and child.poll() is None
        child.stdin.close()
        assert child.wait(30) == 1
