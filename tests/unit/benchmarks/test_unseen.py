from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.unseen import _models, compare, summarize
from benchmarks.unseen_shops import _graded, _some, find_shop
from core.errors import TandemError
from lifecycle.examples.pseudo import attribute_queries


def test_rows_are_paired_with_the_untuned_fused_order() -> None:
    rows = compare({"untuned: fused": {"a": 0.5, "b": 0.25}, "left_out: fused": {"b": 0.5, "a": 0.5}})
    assert rows["left_out: fused"]["nDCG@10"] == 0.5
    assert rows["left_out: fused"]["difference"]["mean"] == 0.125
    assert rows["untuned: fused"]["difference"]["mean"] == 0.0


def test_every_shop_counts_the_same_and_the_worst_set_is_named() -> None:
    def one(difference: float) -> dict:
        return {"rows": {"left_out: fused": {"difference": {"mean": difference}}}}

    summary = summarize({"icecat:items": one(0.25), "icecat:attributes": one(-0.05), "crowdflower:all": one(0.5)})
    row = summary["left_out: fused"]
    assert row["mean"] == pytest.approx(0.3)  # (.1 + .5) / 2
    assert (row["shops"], row["worst"], row["worst difference"]) == (2, "icecat:attributes", -0.05)


def test_models_without_their_shop_or_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    assert _models(f"left_out:*={tmp_path}").parts.ranker is None
    for text in (f"left_out={tmp_path}", f"left_out:hm={tmp_path / 'none'}", "left_out:hm"):
        with pytest.raises(TandemError, match="NAME:SHOP=FOLDER"):
            _models(text)


def test_queries_of_attributes_grade_every_product_that_has_them() -> None:
    rows = [{"id": str(n), "title": "t", "brand": "Acme", "product_type": "Tools > Drills"} for n in range(2)]
    graded = _graded(attribute_queries(pa.Table.from_pylist(rows)))
    assert graded == {"acme drills": {"": 0.0, "0": 1.0, "1": 1.0}}
    assert _some(graded | {"red drills": {"": 0.0, "2": 1.0}}, 1).keys() < {"acme drills", "red drills"}


def test_a_world_of_the_sample_shop_is_made_and_an_unknown_shop_refused(tmp_path: Path) -> None:
    shop = find_shop("trade:test", tmp_path / "none", tmp_path)
    assert shop.judgments is not None and shop.catalog.is_file() and shop.judgments.is_file()
    with pytest.raises(TandemError, match="neither a source of recipe general nor one of home, trade, market"):
        find_shop("mars:test", tmp_path, tmp_path)
