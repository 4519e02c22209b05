"""Reading and mixing sets, on shops of a few products."""

import json
from pathlib import Path

import pytest

from core.errors import FeedError
from core.progress import Silent
from core.strings import query_key
from encoder.train.settings import EncoderTraining
from lifecycle.examples.augment import Augmentation
from lifecycle.recipes.recipe import FinalStage, RecipeSource
from lifecycle.recipes.sets import TrainingSet, mixed, read_sets, varied
from ranker.train.settings import RankerTraining

MUGS = RecipeSource(name="mugs", catalog="mugs.jsonl", judgments="mugs.csv")
LAMPS = RecipeSource(name="lamps", catalog="lamps.jsonl", judgments="lamps.csv", final_only=True)
SHELF = RecipeSource(name="shelf", catalog="lamps.jsonl", pseudo=20)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    _write(tmp_path / "mugs.jsonl", {"1": "Red enamel mug", "2": "Blue glass mug", "3": "Wooden spoon, large"})
    _write(tmp_path / "lamps.jsonl", {"1": "Brass desk lamp", "2": "Paper floor lamp for corners", "9": "Oak stool"})
    rows = ("red mug,1,3,train", "red mug,2,1,train", "spoon,3,2,train", "blue mug,2,3,valid", "blue mug,1,1,valid")
    _judge(tmp_path / "mugs.csv", *rows, "desk lamp,1,2,train", "tea,1,2,test")
    _judge(tmp_path / "lamps.csv", "Desk  lamp,1,10,test", "stool,9,10,train", "stool,1,0,train", "paper,2,5,valid")
    return tmp_path


def _write(path: Path, titles: dict[str, str]) -> None:
    path.write_text("".join(json.dumps({"id": name, "title": title}) + "\n" for name, title in titles.items()))


def _judge(path: Path, *rows: str) -> None:
    path.write_text("\n".join(["query,product_id,grade,split", *rows]) + "\n")


def read(data: Path, *sources: RecipeSource) -> list[TrainingSet]:
    return read_sets(sources, data, 0, Silent())


def test_ids_carry_their_source_so_that_shops_can_be_mixed(data: Path) -> None:
    mugs, lamps = read(data, MUGS, LAMPS)
    assert list(mugs.texts) == ["mugs/1", "mugs/2", "mugs/3"]
    assert lamps.texts["lamps/1"] == "Brass desk lamp"
    assert set(lamps.judgments["product_id"].to_pylist()) <= set(lamps.texts)


def test_products_are_found_by_words_of_their_own_language(data: Path) -> None:
    (data / "de.toml").write_text('[catalog]\nname = "mugs"\nlanguage = "de"\n')
    mugs, lamps = read(data, MUGS.model_copy(update={"mapping": "de.toml"}), LAMPS)
    assert (mugs.products.language, lamps.products.language) == ("de", "en")


def test_grades_become_their_place_in_the_sources_own_range(data: Path) -> None:
    mugs, lamps = read(data, MUGS, LAMPS)
    assert mugs.judgments["grade"].to_pylist() == [1.0, 0.0, 0.5, 1.0, 0.0, 0.5, 0.5]
    assert lamps.judgments["grade"].to_pylist() == [1.0, 1.0, 0.0, 0.5]


def test_what_one_source_holds_out_another_does_not_train_on(data: Path) -> None:
    sets = read(data, MUGS, LAMPS)
    rows = mixed(sets).to_pylist()
    assert [row["split"] for row in rows if query_key(row["query"]) == "desk lamp"] == ["test"]
    assert len(rows) == 11 - 1
    assert "desk lamp" in mixed(sets[:1])["query"].to_pylist()


def _late(**given: int) -> FinalStage:
    return FinalStage(**given, towers=EncoderTraining(), ranker=RankerTraining())


def test_replay_takes_some_queries_of_the_early_sources_and_all_of_the_late_ones(data: Path) -> None:
    rows = mixed(read(data, MUGS, LAMPS), _late(replay=1, replay_valid=0)).to_pylist()
    early = {row["query"] for row in rows if row["product_id"].startswith("mugs") and row["split"] == "train"}
    assert len(early) <= 1
    assert {row["query"] for row in rows if row["split"] != "train"} == {"tea", "Desk lamp", "paper"}
    assert "blue mug" in {
        row["query"] for row in mixed(read(data, MUGS, LAMPS), _late(replay=4, replay_valid=1)).to_pylist()
    }
    assert {row["query"] for row in rows if row["product_id"].startswith("lamps")} >= {"stool", "paper"}


def test_queries_are_made_up_for_products_and_never_are_those_held_out(data: Path) -> None:
    _judge(data / "mugs.csv", "red mug,1,3,train", "red mug,2,1,train", "oak stool,2,1,test", "desk lamp,2,1,valid")
    _, shelf = read(data, MUGS, SHELF)
    made = shelf.generated.to_pylist()
    assert made and all(row["split"] == "train" and row["grade"] == 1.0 for row in made)
    assert {row["product_id"] for row in made} <= set(shelf.texts)
    assert not {"oak stool", "desk lamp"} & {row["query"] for row in made}


def test_variants_are_added_to_train_alone_with_the_same_products(data: Path) -> None:
    (mugs,) = read(data, MUGS)
    table = varied(mugs.judgments, Augmentation(typing=1.0, dropped=0.0, reordered=0.0))
    more = table.slice(len(mugs.judgments)).to_pylist()
    assert table.slice(0, len(mugs.judgments)).equals(mugs.judgments)
    assert {row["split"] for row in more} == {"train"}
    assert sorted(row["product_id"] for row in more) == [
        "mugs/1",
        "mugs/3",
    ]  # desk lamp and spoon; a word of three letters stays
    assert not {row["query"] for row in more} & set(mugs.judgments["query"].to_pylist())


def test_a_file_that_is_not_there_is_named(data: Path) -> None:
    (data / "mugs.csv").unlink()
    with pytest.raises(FeedError, match=r"mugs\.csv: no such file; the recipe learns from it, below the folder --data"):
        read(data, MUGS)


def test_a_mapping_that_is_not_there_is_named(data: Path) -> None:
    with pytest.raises(FeedError, match=r"none\.toml: no such file; source mugs is mapped by it"):
        read(data, MUGS.model_copy(update={"mapping": "none.toml"}))


def test_digests_name_every_file_by_its_source(data: Path) -> None:
    mugs, lamps = read(data, MUGS, LAMPS)
    assert sorted(mugs.digests) == ["mugs catalog", "mugs judgments", "mugs mapping"]
    assert mugs.digests["mugs catalog"] != lamps.digests["lamps catalog"]
