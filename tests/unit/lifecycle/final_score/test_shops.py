"""Training a final score on several shops, on the doubles: the towers find 5, 6, 7, ... and words the same two."""

import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import product
from doubles import FixedLexicalRetriever, make_release

from core.errors import FeedError, ReleaseError
from core.progress import Silent
from evaluation.judgments import JUDGMENTS_SCHEMA
from lifecycle.final_score import shops as module
from lifecycle.final_score.shops import ShopRelease, train_final_of_shops
from ranker.final import FinalScore
from ranker.train.final import FinalTraining

SETTINGS = FinalTraining(candidates=10, rerank_depth=0)
QUERIES = [f"{number} things" for number in range(12)]


def judgments(folder: Path, name: str, grades: tuple[float, float]) -> Path:
    """The product two places after the query's number is good, the one at it is poor."""
    rows = []
    for query in QUERIES:
        number = int(query.split()[0])
        rows += [(query, f"p{number + 2}", grades[1], "valid"), (query, f"p{number}", grades[0], "valid")]
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA), path)
    return path


@pytest.fixture
def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ShopRelease]:
    """Two judged shops on different scales, and one of whose products queries are made."""
    releases = {}
    for name in ("judged", "graded", "made"):
        (tmp_path / name).mkdir()
        rows = [product(f"p{i}", title=f"blue gadget{i} holder{i}") for i in range(48)]
        releases[name] = make_release(tmp_path / name, rows, ranker=False, words=FixedLexicalRetriever([30, 31]))
        releases[name].tower.digest = f"towers of {name}"  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "open_place", lambda place: releases[place.name])
    places = [SimpleNamespace(name=name) for name in releases]
    files = [judgments(tmp_path, "judged", (1.0, 3.0)), judgments(tmp_path, "graded", (0.0, 1.0)), None]
    pairs = zip(places, files, strict=True)
    return [ShopRelease(place.name, place, file) for place, file in pairs]  # type: ignore[arg-type]


def test_a_score_of_several_shops_is_learned_and_goes_with_any_towers(shops: list[ShopRelease], tmp_path: Path) -> None:
    output = tmp_path / "final"
    outcome = train_final_of_shops(shops, output, SETTINGS, Silent(), queries=20)
    score = FinalScore.open(output)
    assert score.spec == outcome.spec and [path.name for path in output.iterdir()] == ["final.json"]
    score.check("any towers", "any cross-encoder")
    assert (score.spec.encoder, score.spec.rerank_depth) == ("", 0)
    report = json.loads(score.spec.model_dump_json())["report"]
    assert report["towers"] == {name: f"towers of {name}" for name in ("judged", "graded", "made")}
    assert {name: entry["made up"] for name, entry in report["shops left out"].items()} == {
        "judged": False,
        "graded": False,
        "made": True,
    }
    assert report["shops left out"]["judged"]["queries"] == 12 and report["worst shop"] in report["towers"]
    # The towers have the good product third, and words have others first: 1/log2(5) or less.
    means = {entry.shop.name: entry.over_fused().a for entry in outcome.left_out}
    assert means["judged"] == means["graded"] < 0.5


def test_what_cannot_be_learned_from_is_refused(shops: list[ShopRelease], tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="needs 3 or more: each is left out once to measure"):
        train_final_of_shops(shops[:2], tmp_path / "final", SETTINGS, Silent())
    with pytest.raises(FeedError, match=r"judged: 9 queries have products of the catalog; give ten, better 300"):
        train_final_of_shops(shops, tmp_path / "final", SETTINGS, Silent(), queries=9)
    assert not (tmp_path / "final").exists()


def test_a_shop_without_words_is_refused(
    shops: list[ShopRelease], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "open_place", lambda place: make_release(tmp_path, ranker=False))
    with pytest.raises(ReleaseError, match="has no lexical index; run `tandem index` again first"):
        train_final_of_shops(shops, tmp_path / "final", SETTINGS, Silent())
