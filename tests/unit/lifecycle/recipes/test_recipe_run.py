"""A recipe with every stage, on tiny models: what it leaves, and what it does not do twice."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from shops import write_rows

from core.progress import Silent
from encoder.bi_encoder import BiEncoder
from encoder.train.settings import EncoderTraining
from lifecycle.examples.augment import Augmentation
from lifecycle.examples.mining import Mining
from lifecycle.final_score.settings import FinalScoreStage
from lifecycle.final_score.shops import ShopRelease
from lifecycle.recipes import final, pace, run, stages
from lifecycle.recipes.recipe import Compression, CostModel, FinalStage, Recipe, RecipeSource, Work
from lifecycle.recipes.run import run_recipe
from lifecycle.tracking.lineage import Lineage, read_lineage
from lifecycle.tracking.tracker import NullTracker
from ranker.ranker import Ranker
from ranker.train.compress import RankerDistillation
from ranker.train.settings import RankerTraining
from training.bases import BaseResolver
from training.examples import Examples
from training.known_bases import Base, BaseSources
from training.stages import ModelStages, Task

SHORT = {"max_steps": 2, "evaluations": 1, "batch_size": 8, "threads": 1, "validation_pairs": 60}
TOWERS = EncoderTraining(negatives=1, mask_false_negatives=True, distractors=5, **SHORT)
RANKER = RankerTraining(learning_rate=1e-3, **SHORT)


def recipe() -> Recipe:
    """Two shops, one of them late, and two layers of which the student keeps one."""
    early = RecipeSource(name="early", catalog="early.jsonl", judgments="early.parquet", pseudo=5)
    late = RecipeSource(name="late", catalog="late.jsonl", judgments="late.parquet", final_only=True)
    return Recipe(
        name="tiny",
        sources=(early, late),
        augmentation=Augmentation(),
        towers=TOWERS,
        mining=Mining(first=1, last=20),
        second_round=TOWERS.model_copy(update={"keep": 0.5}),
        ranker=RANKER,
        final_stage=FinalStage(replay=5, towers=TOWERS, ranker=RANKER),
        compression=Compression(candidates=3, final_candidates=5, student=RankerDistillation(layers=1, **SHORT)),
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.write_ranker_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("early", "late"):
        write_rows(folder / f"{name}.jsonl", ({"id": product, "title": text} for product, text in tiny.TEXTS.items()))
        pq.write_table(tiny.judgments(), folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def done(base: str, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("done")
    run_recipe(recipe(), data, output, Silent(), NullTracker(), base)
    return output


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders that are trained from now on."""
    names: list[str] = []
    whole = stages.train_and_record

    def train_and_record(lineage: Lineage, model: ModelStages, task: Task, *rest: Any) -> dict[str, Any]:
        names.append(task.output.name)
        return whole(lineage, model, task, *rest)

    monkeypatch.setattr(stages, "train_and_record", train_and_record)
    return names


def test_both_models_are_left_with_their_lineage(done: Path, base: str) -> None:
    towers, ranker = BiEncoder.open(done / "encoder"), Ranker.open(done / "ranker")
    assert towers.spec.base == ranker.spec.base == Path(base).name  # through all rounds
    assert towers.spec.dimensions == tiny.DIMENSIONS and ranker.spec.slope > 0
    lineage = read_lineage(done / "ranker")
    assert lineage is not None and lineage["catalog"] == "tiny"
    assert {"early judgments", "late judgments", "model encoder", "model late-teacher"} <= lineage["data"].keys()
    early = read_lineage(done / "stages" / "teacher")
    assert early is not None and not any(name.startswith("late") for name in early["data"])


def test_the_second_round_keeps_weights_of_what_the_first_began_with(done: Path, base: str) -> None:
    settings = json.loads((done / "stages" / "encoder" / "report.json").read_text())["settings"]
    assert (settings["keep"], settings["keep_of"]) == (0.5, base)
    assert Path(settings["base"]) == done / "stages" / "first-round" / "checkpoint"


def test_negatives_are_mined_of_the_querys_own_shop_and_are_not_judged_good(done: Path) -> None:
    good = {
        (row["query"], row["product_id"])
        for row in tiny.judgments().to_pylist()
        if row["grade"] > 0 and row["split"] == "train"
    }
    for name in ("mined-1", "mined-2", "mined-3"):
        shop = "late" if name == "mined-3" else "early"
        rows = pq.read_table(done / "stages" / name / "negatives.parquet").to_pylist()
        assert rows and {row["product_id"].split("/")[0] for row in rows} == {shop}
        assert not {(row["query"], row["product_id"].split("/")[1]) for row in rows} & good


def test_models_are_validated_among_what_is_found_first(done: Path) -> None:
    for folder in (done / "stages" / "teacher", done / "stages" / "late-teacher", done / "ranker"):
        report = json.loads((folder / "report.json").read_text())
        assert report["data"]["valid_unjudged"] > 0
    valid = {row["query"] for row in tiny.judgments().to_pylist() if row["split"] == "valid"}
    for number in range(1, 6):
        result = json.loads((done / "stages" / f"found-{number}" / "found.json").read_text())
        assert result.keys() == valid
        assert all(0 < len(names) <= 32 for names in result.values())
        assert _shops(result) == ({"late"} if number > 3 else {"early"})
    for folder in (done / "stages" / "first-round", done / "stages" / "encoder", done / "encoder"):
        assert json.loads((folder / "report.json").read_text())["data"]["valid_found"] > 0


def test_what_is_done_is_not_done_again(base: str, data: Path, done: Path, trained: list[str]) -> None:
    before = Ranker.open(done / "ranker").digest
    run_recipe(recipe(), data, done, Silent(), NullTracker(), base)
    assert trained == [] and Ranker.open(done / "ranker").digest == before


def test_a_run_that_was_cut_goes_on_where_it_was(base: str, data: Path, done: Path, trained: list[str]) -> None:
    before = Ranker.open(done / "ranker").digest
    for folder in (done / "ranker", done / "stages" / "late-teacher"):
        (folder / "report.json").unlink()
    run_recipe(recipe(), data, done, Silent(), NullTracker(), base)
    assert trained == ["late-teacher", "ranker"]
    assert Ranker.open(done / "ranker").digest == before


def test_a_changed_stage_is_followed_by_all_that_build_on_it(
    base: str, data: Path, done: Path, trained: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    shutil.copytree(done, output)
    other = recipe().model_copy(update={"towers": TOWERS.model_copy(update={"learning_rate": 1e-2})})
    run_recipe(other, data, output, Silent(), NullTracker(), base)
    assert trained == ["first-round", "encoder", "teacher", "encoder", "late-teacher", "ranker"]


def test_other_late_judgments_share_the_stages_before(
    base: str, data: Path, done: Path, trained: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("early.jsonl", "early.parquet", "late.jsonl"):
        (other / name).symlink_to(data / name)
    pq.write_table(
        pa.concat_tables([tiny.judgments().slice(0, 200), tiny.judgments().slice(220)]), other / "late.parquet"
    )
    run_recipe(recipe(), other, tmp_path / "fold", Silent(), NullTracker(), base, done / "stages")
    assert trained == ["encoder", "late-teacher", "ranker"]
    assert (tmp_path / "fold" / "ranker" / "ranker.json").is_file()


def test_the_last_stage_hears_of_all_shops(
    base: str, data: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shops: dict[str, dict[str, set[str]]] = {}
    calls: list[int] = []

    whole = stages.train_and_record

    def train_and_record(lineage: Lineage, model: ModelStages, task: Task, *rest: Any) -> dict[str, Any]:
        if isinstance(task.examples, Examples):
            products = {"negatives": task.examples.negatives, "retrieved": task.examples.retrieved}
            shops[task.output.name] = {name: _shops(value) for name, value in products.items()}
        return whole(lineage, model, task, *rest)

    def candidates(train: Any, products: Any, count: int, similarity: Any) -> Any:
        calls.append(count)
        return pairs(train, products, count, similarity)

    monkeypatch.setattr(stages, "train_and_record", train_and_record)
    pairs = run.ranker_pairs
    monkeypatch.setattr(run, "ranker_pairs", candidates)
    run_recipe(recipe(), data, tmp_path, Silent(), NullTracker(), base, done / "stages")
    both = {"early", "late"}
    assert shops == {
        "encoder": {"negatives": {"early"}, "retrieved": both},
        "late-teacher": {"negatives": both, "retrieved": both},
    }
    assert calls == [3, 5]


def _shops(products: Mapping[str, Sequence[str]]) -> set[str]:
    return {name.split("/")[0] for names in products.values() for name in names}


def test_products_are_found_anew_by_another_lexical_index(
    base: str, data: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "copy"
    shutil.copytree(done, output)
    mined: list[int] = []
    whole = stages.mine_negatives
    monkeypatch.setattr(stages, "mine_negatives", lambda *given: mined.append(1) or whole(*given))  # type: ignore[func-returns-value]
    run_recipe(recipe(), data, output, Silent(), NullTracker(), base)
    assert not mined
    monkeypatch.setattr(stages, "_WORDS", {"lexical": -1})
    run_recipe(recipe(), data, output, Silent(), NullTracker(), base)
    assert len(mined) == 3


def test_another_last_stage_shares_the_stages_before(
    base: str, data: Path, done: Path, trained: list[str], tmp_path: Path
) -> None:
    late = FinalStage(replay=4, towers=TOWERS, ranker=RANKER)
    run_recipe(
        recipe().model_copy(update={"final_stage": late}),
        data,
        tmp_path,
        Silent(),
        NullTracker(),
        base,
        done / "stages",
    )
    assert trained == ["encoder", "late-teacher", "ranker"]


def test_a_run_that_has_less_time_learns_less_and_goes_on_with_as_much(
    base: str, data: Path, trained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stages themselves take no time to speak of, so all follow the timings: 6 s a step, then .1."""
    timings = iter([6.0] * 3 + [0.001] * 100)
    monkeypatch.setattr(pace, "seconds_per_step", lambda base: next(timings))
    monkeypatch.setattr(pace, "_PAUSE", 0.0)
    longer = RANKER.model_copy(update={"max_steps": 8, "epochs": 50.0})
    towers = TOWERS.model_copy(update={"max_steps": 8, "epochs": 50.0})
    effort = CostModel(towers=Work(learning=800), ranker=Work(learning=400))
    hurried = recipe().on("early.jsonl", "early.parquet").model_copy(
        update={"towers": towers, "ranker": longer, "effort": effort, "minutes": 60}
    )  # fmt: skip
    lines: list[str] = []
    run_recipe(hurried, data, tmp_path, Silent(), NullTracker(), base, notify=lines.append)
    steps = {
        name: json.loads((tmp_path / "stages" / name / "report.json").read_text())["settings"]["max_steps"]
        for name in ("first-round", "teacher")
    }
    assert lines[:2] == [
        f"the {kind} starts from {Path(base).name} (from the folder)" for kind in ("encoder", "ranker")
    ]
    assert steps == {"first-round": 4, "teacher": 8} and len(lines) == 4 and len(trained) == 4
    run_recipe(hurried, data, tmp_path, Silent(), NullTracker(), base, notify=lines.append)
    assert lines[4:] == lines[:2] and len(trained) == 4


def test_without_late_sources_what_the_towers_find_is_looked_for_once(
    base: str, data: Path, trained: list[str], tmp_path: Path
) -> None:
    run_recipe(recipe().on("early.jsonl", "early.parquet"), data, tmp_path, Silent(), NullTracker(), base)
    assert trained == ["first-round", "encoder", "teacher", "ranker"]
    folders = {path.name for path in (tmp_path / "stages").iterdir()}
    assert folders == {"first-round", "mined-1", "mined-2", "found-1", "found-2", "found-3", "teacher"}


def test_without_late_sources_and_compression_the_last_stages_are_the_result(
    base: str, data: Path, trained: list[str], tmp_path: Path
) -> None:
    """Each starts from its own preference, which the lines, the specs and the lineages name."""
    towers = tiny.write_base(tmp_path / "models" / "team" / "towers")
    bases = {"encoder_bases": ("/nowhere/at/all", "team/towers"), "ranker_bases": (base,)}
    short = recipe().on("early.jsonl", "early.parquet")
    short = short.model_copy(update={"compression": None, "second_round": None, **bases})
    own = Base(name="team/towers", kind="encoder", query_prefix="cheap ", license="mit")
    resolver = BaseResolver(BaseSources(folder=tmp_path / "models", models=(own,)))
    lines: list[str] = []
    run_recipe(short, data, tmp_path, Silent(), NullTracker(), notify=lines.append, resolver=resolver)
    assert lines == [
        "/nowhere/at/all: is no folder, and no hub id",
        "the encoder starts from towers (from the folder, licence mit)",
        f"the ranker starts from {Path(base).name} (from the folder)",
    ]
    assert trained == ["encoder", "ranker"]
    encoder = BiEncoder.open(tmp_path / "encoder").spec
    assert (encoder.base, encoder.query_prefix, encoder.dimensions) == ("towers", "cheap ", tiny.DIMENSIONS)
    assert json.loads((tmp_path / "encoder" / "report.json").read_text())["settings"]["base"] == towers
    assert Ranker.open(tmp_path / "ranker").spec.base == Path(base).name
    for kind in ("encoder", "ranker"):
        lineage = read_lineage(tmp_path / kind)
        assert lineage is not None and lineage["base_origin"] == "folder"


def test_without_a_ranker_the_towers_are_the_result(base: str, data: Path, trained: list[str], tmp_path: Path) -> None:
    alone = recipe().without_ranker()
    assert "ranker" not in alone.stages and alone.models == ("encoder",)
    run_recipe(alone, data, tmp_path, Silent(), NullTracker(), base)
    assert trained == ["first-round", "encoder", "encoder"] and not (tmp_path / "ranker").exists()


def test_a_cross_encoder_that_needs_one_to_start_from_is_left_out_without(
    data: Path, trained: list[str], tmp_path: Path
) -> None:
    lines: list[str] = []
    chosen = recipe().on("early.jsonl", "early.parquet").model_copy(update={"ranker_from": "cross-encoder"})
    base = tiny.write_base(tmp_path / "towers")
    folders = run_recipe(chosen, data, tmp_path, Silent(), NullTracker(), base, notify=lines.append)
    assert folders == (tmp_path / "encoder",) and trained == ["first-round", "encoder"]
    assert len(lines) == 2 and lines[0].startswith("no cross-encoder: ") and "--ranker" in lines[0]
    assert lines[1].startswith("the encoder starts from ")


def test_a_student_that_does_not_see_all_pairs_asks_only_of_those_it_sees(
    base: str, data: Path, done: Path, trained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[tuple[str, str]]] = []
    whole = run.compression.compute_teacher_logits
    monkeypatch.setattr(
        run.compression,
        "compute_teacher_logits",
        lambda teacher, pairs, *rest: calls.append(pairs) or whole(teacher, pairs, *rest),
    )
    output = tmp_path / "output"
    shutil.copytree(done, output)
    compression = recipe().compression
    assert compression is not None
    student = compression.student.model_copy(update={"epochs": 0.34, "max_steps": None})
    shorter = recipe().model_copy(update={"compression": compression.model_copy(update={"student": student})})
    run_recipe(shorter, data, output, Silent(), NullTracker(), base)
    pairs = [json.loads((folder / "ranker" / "report.json").read_text())["data"]["pairs"] for folder in (done, output)]
    assert trained == ["ranker"] and pairs[1] == math.ceil(pairs[0] * 0.34) == len(set(calls[0]))
    assert len({query for query, _ in calls[0]}) > 3  # drawn of all, not the first


def test_a_recipe_ends_with_a_final_score_of_all_its_sources(
    base: str, data: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the models that it trained; what is done is not done again, and too few queries leave the rest as it is."""
    shutil.copytree(done, tmp_path / "done")
    learned: list[list[ShopRelease]] = []

    def learning(shops: Sequence[ShopRelease], output: Path, *_: Any) -> None:
        learned.append(list(shops))
        for shop in shops:
            manifest = shop.place.manifest
            assert manifest.snapshot.products <= 100 and manifest.model.final is None and manifest.model.ranker
        output.mkdir(exist_ok=True)
        (output / "final.json").write_text("{}")

    monkeypatch.setattr(final, "train_final_of_shops", learning)
    chosen = recipe().model_copy(update={"final": FinalScoreStage(products=100)})
    for _ in range(2):
        models = run_recipe(chosen, data, tmp_path / "done", Silent(), NullTracker(), base)
        assert [folder.name for folder in models] == ["encoder", "ranker", "final"]
    assert [[shop.name for shop in shops] for shops in learned] == [["early", "late"]]
    assert [shop.split for shop in learned[0]] == ["valid", "valid"]
    monkeypatch.undo()
    lines: list[str] = []
    fewer = recipe().model_copy(update={"final": FinalScoreStage(products=101)})
    models = run_recipe(fewer, data, tmp_path / "done", Silent(), NullTracker(), base, notify=lines.append)
    assert lines[-1] == (
        "no final score: a final score of several shops needs 3 or more: each is left out once to measure"
    )
    assert [folder.name for folder in models] == ["encoder", "ranker"]
    assert not (tmp_path / "done" / "final" / "final.json").exists()
