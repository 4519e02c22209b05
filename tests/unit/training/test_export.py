"""Where a base model is found."""

from pathlib import Path

from tests import tiny
from training.export import base_location, base_name, is_cross_encoder


def test_a_folder_that_training_left_stands_for_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "encoder" / "checkpoint").mkdir(parents=True)
    assert base_location(str(tmp_path / "encoder")) == str(tmp_path / "encoder" / "checkpoint")
    assert base_location(str(tmp_path / "encoder" / "checkpoint")) == str(tmp_path / "encoder" / "checkpoint")
    assert base_location("someone/model") == "someone/model"
    assert (Path(base_location(None)) / "config.json").is_file()


def test_a_base_is_named_without_its_path(tmp_path: Path) -> None:
    assert base_name(str(tmp_path)) == tmp_path.name
    assert base_name("someone/model") == "someone/model"
    assert base_name(None) == "all-MiniLM-L6-v2"


def test_only_a_model_that_scores_pairs_is_a_cross_encoder(tmp_path: Path) -> None:
    assert is_cross_encoder(str(tiny.write_ranker_base(tmp_path / "ranker")))
    assert not is_cross_encoder(str(tiny.write_base(tmp_path / "towers")))
    assert not is_cross_encoder(None) and not is_cross_encoder(str(tmp_path))
