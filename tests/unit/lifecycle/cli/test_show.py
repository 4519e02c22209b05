from io import StringIO
from typing import Any

import pytest
from builders import LINEAGE, entry, make_manifest
from rich.console import Console

from core.manifest import CatalogSnapshot, ColumnsReport, FieldReport
from core.release import Release
from lifecycle.cli.show import (
    counts,
    show_evaluation,
    show_lineage,
    show_models,
    show_release,
    show_releases,
)
from lifecycle.quality.evaluate import Evaluation
from lifecycle.tracking.lineage import release_lineage
from lifecycle.tracking.registry import ModelVersion


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=200)


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def _snapshot(**changes: Any) -> CatalogSnapshot:
    values = {
        "catalog_id": "c-1",
        "products": 1234,
        "cleaning": {"rows_read": 1300, "rejected": {"no_title": 60, "no_id": 0}, "repeated": 6, "share": 0.5},
        "index": {"kind": "exact", "recall_at_100": 1.0},
        "files": {"products.arrow": entry("b")},
    }
    return CatalogSnapshot(**(values | changes))


def test_releases_are_listed_with_the_one_in_service_marked(console: Console) -> None:
    files = {"encoder/m": entry("a")}, {"products.arrow": entry("b")}
    manifests = [make_manifest(*files, number, snapshot=_snapshot(products=10**6 + number)) for number in (0, 1)]
    releases = [Release(manifest.release_id, manifest) for manifest in manifests]
    show_releases(console, releases, manifests[1].release_id)
    lines = shown(console).splitlines()
    [first] = [line for line in lines if manifests[0].release_id in line]
    [second] = [line for line in lines if manifests[1].release_id in line]
    assert "→" in second and "→" not in first
    assert "2026-01-02 03:04:05" in first and "1,000,000" in first and "1,000,001" in second
    assert manifests[0].model.model_id in first and "exact" in first


def test_a_damaged_release_is_listed_with_its_reason(console: Console) -> None:
    manifest = make_manifest({"encoder/m": entry("a")}, {"products.arrow": entry("b")})
    releases = [Release("r-bad", None, "release r-bad: x [y] is missing"), Release(manifest.release_id, manifest)]
    show_releases(console, releases, "r-bad")
    lines = shown(console).splitlines()
    [row] = [line for line in lines if "r-bad" in line and "→" in line]
    assert "damaged" in row and lines[-1] == "damaged: release r-bad: x [y] is missing"
    assert any(manifest.release_id in line and "damaged" not in line for line in lines)


def test_a_narrow_terminal_cuts_no_release_name() -> None:
    console = Console(file=StringIO(), width=80)
    manifest = make_manifest({"encoder/m": entry("a")}, {"products.arrow": entry("b")})
    show_releases(console, [Release(manifest.release_id, manifest)], None)
    assert manifest.release_id in shown(console)


def test_a_new_release_tells_what_it_was_made_of(console: Console) -> None:
    manifest = make_manifest({"encoder/m": entry("a")}, {"products.arrow": entry("b")}, snapshot=_snapshot())
    show_release(console, manifest, 34)
    text = shown(console)
    assert "34 products embedded, 1,200 reused" in text
    assert "index: exact, recall@100 1.000" in text
    assert "rows read 1,300" in text and "no_title 60" in text
    assert f"published release {manifest.release_id} of catalog shop" in text


def test_the_types_of_columns_take_a_line_each(console: Console) -> None:
    fields = {
        "brand": FieldReport(kind="string", filled=5, values=3),
        "color": FieldReport(kind="strings", filled=0),
        "price": FieldReport(kind="money", unit="EUR", filled=4, unreadable=1200),
        "popularity": FieldReport(kind="number", filled=4, unreadable=2),
        **{f"attributes.a{i}": FieldReport(kind="number", unit="v", filled=1) for i in range(9)},
    }
    report = ColumnsReport(format=1, bytes=1, rare_attributes=5110, fields=fields)
    snapshot = _snapshot().model_copy(update={"columns": report})
    show_release(
        console, make_manifest({"encoder/m": entry("a")}, {"products.arrow": entry("b")}, snapshot=snapshot), 0
    )
    lines = [line for line in shown(console).splitlines() if "column" in line]
    seven = [f"attributes.a{i} (v)" for i in range(7)]
    assert lines == [
        "columns of text: brand",
        "columns of money: price (EUR, 1,200 unreadable)",
        f"columns of numbers: popularity (2 unreadable), {', '.join(seven)} and 2 more",
        "note: 5,110 rarer attributes have no column and cannot be filtered by",
    ]


def test_nothing_changed_is_said(console: Console) -> None:
    manifest = make_manifest({"encoder/m": entry("a")}, {"products.arrow": entry("b")})
    show_release(console, manifest, None)
    assert shown(console) == f"nothing changed: release {manifest.release_id} stays\n"


def test_counts_are_flat_and_without_zeros() -> None:
    manifest = make_manifest({"encoder/m": entry("a")}, {"products.arrow": entry("b")}, snapshot=_snapshot())
    assert counts(manifest) == {"rows read": 1300, "rejected: no_title": 60, "repeated": 6}


def test_an_evaluation_shows_means_and_intervals(console: Console) -> None:
    values = {
        "retrieval": {"nDCG@10": {"a": 0.5, "b": 0.5}, "pool nDCG@10": {"a": 0.25}},
        "random order": {"pool nDCG@10": {"a": 0.125}},
    }
    evaluation = Evaluation("r-1", "test", 1.0, 2.0, 3, values)
    show_evaluation(console, evaluation)
    text = shown(console)
    assert "release r-1, split test" in text
    assert "0.500 [0.500, 0.500]" in text and "0.125 [0.125, 0.125]" in text
    assert "2 queries; gain 2^(grade - 1) - 1; relevant from grade 2" in text
    assert "3 judged products are not in the catalog" in text


def test_a_release_without_a_ranker_shows_none() -> None:
    console = Console(file=StringIO(), width=80)
    inputs = {"encoder": "a" * 64, "ranker": ""}
    manifest = make_manifest({"encoder/a": entry("a")}, {"products.arrow": entry("b")}, inputs=inputs)
    show_lineage(console, release_lineage(manifest))
    lines = [line.strip() for line in shown(console).splitlines()]
    assert "encoder: no training known" in lines and "ranker: none" in lines


def test_a_lineage_is_shown_uncut() -> None:
    console = Console(file=StringIO(), width=80)
    manifest = make_manifest({"encoder/a": entry("a")}, {"products.arrow": entry("b")}, inputs={"feed": "d" * 64})
    reported = LINEAGE.model_copy(update={"base": "[mine]"}).model_dump(mode="json")
    model = manifest.model.model_copy(update={"lineage": {"encoder": reported}})
    show_lineage(console, release_lineage(manifest.model_copy(update={"model": model})))
    lines = [line.strip() for line in shown(console).splitlines()]
    assert lines[0] == f"release {manifest.release_id} of catalog shop"
    for line in (
        "encoder: from [mine]",
        f"judgments {'b' * 64}",
        f"feed      {'d' * 64}",
        "ranker: no training known",
        "final: none",
    ):
        assert line in lines
    assert "run       r1 in http://mlflow:5000" in lines and "version   3 of tandem-shop-encoder" in lines


def test_a_lineage_has_what_each_stage_of_the_final_score_gained() -> None:
    stage = {"stage": "prerank", "over": "fused", "ndcg": 0.5, "gain": {"mean": 0.0254}, "milliseconds": 0.451}
    source = stage | {"stage": "words", "over": None}
    spec: dict[str, Any] = {"features": ["a", "b"], "rerank_depth": 0}
    reports = {
        "one shop": {"stages": [source, stage]},
        "several": {"shops left out": {"diy": {"stages": [stage]}}},
    }
    manifest = make_manifest({"encoder/a": entry("a")}, {"products.arrow": entry("b")})
    shown_lines = {}
    for name, report in reports.items():
        console = Console(file=StringIO(), width=80)
        model = manifest.model.model_copy(update={"final": spec | {"report": report}})
        show_lineage(console, release_lineage(manifest.model_copy(update={"model": model})))
        shown_lines[name] = [line.strip() for line in shown(console).splitlines()]
    assert "final: 2 features, 0 candidates are rescored" in shown_lines["one shop"]
    assert "words: nDCG@10 0.500, 0.45 ms" in shown_lines["one shop"]
    assert "prerank: nDCG@10 0.500, +0.025 over fused, 0.45 ms" in shown_lines["one shop"]
    assert "diy, prerank: nDCG@10 0.500, +0.025 over fused, 0.45 ms" in shown_lines["several"]


def test_models_are_listed_with_their_aliases(console: Console) -> None:
    made = LINEAGE.started
    rows = [
        ModelVersion("tandem-shop-encoder", "1", ("champion",), 0.8125, made, "r1", "d"),
        ModelVersion("tandem-shop-encoder", "2", ("candidate",), None, made, "r2", "d"),
    ]
    show_models(console, rows)
    [first] = [line for line in shown(console).splitlines() if "champion" in line]
    assert "0.812" in first and "r1" in first and "2026-01-02 03:04:05" in first
    assert "candidate" in shown(console)


def test_values_left_out_are_told_with_an_example(console: Console) -> None:
    cleaning = {
        "rows_read": 9,
        "format": "csv",
        "encoding": "cp1254",
        "dropped": {"price: bad_price": 1200},
        "examples": {"price: bad_price": "'Call [me]' holds no number"},
        "notes": ["the letters look Turkish"],
    }
    manifest = make_manifest(
        {"encoder/m": entry("a")}, {"products.arrow": entry("b")}, snapshot=_snapshot(cleaning=cleaning)
    )
    show_release(console, manifest, 34)
    text = shown(console)
    assert "feed read as csv in cp1254" in text
    assert "note: the letters look Turkish" in text
    assert "left out of 1,200 products: price: bad_price, such as 'Call [me]' holds no number" in text
