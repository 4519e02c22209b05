"""Runs and registered models in a real MLflow on SQLite."""

import json
from pathlib import Path

import pytest
from builders import LINEAGE

from core.errors import TandemError
from lifecycle.tracking.mlflow_tracker import EXPERIMENT, MlflowTracker, open_client
from lifecycle.tracking.registry import Registry
from lifecycle.tracking.store import tracking_uri
from training.loop import METRIC

pytest.importorskip("mlflow")

REPORT = {
    "loss": [{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.5}],
    "validation": [{"step": 0, METRIC: 0.5}, {"step": 2, METRIC: 0.75}],
    "parity": {"cosine_mean": 0.99},
    "settings": {"seed": 3},
    "best": 0.75,
    "best_step": 2,
}


def test_runs_are_kept_registered_and_promoted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    uri = tracking_uri(str(tmp_path / "tracking"))
    report = tmp_path / "report.json"
    report.write_text(json.dumps(REPORT))
    calls: list[str] = []
    tracker = MlflowTracker(uri, calls.append)
    kept = []
    for _ in range(2):
        with tracker.run(LINEAGE, {"seed": 3, "base": "/secret/path"}) as run:
            kept.append(run.record(REPORT, "d" * 64, [report]))
    with pytest.raises(KeyboardInterrupt), tracker.run(LINEAGE, {}):
        raise KeyboardInterrupt
    first, second = kept
    assert first and second and (first.version, second.version) == ("1", "2")
    assert len(calls) == 2 and f"tandem-shop-encoder version 1, run {first.run_id}" in calls[0]

    client = open_client(uri)
    result = client.get_run(first.run_id)
    assert result.info.status == "FINISHED"
    assert result.data.params == {"seed": "3", "base": LINEAGE.base}
    assert result.data.tags["data.judgments"] == LINEAGE.data["judgments"]
    assert result.data.tags["mlflow.source.git.commit"] == LINEAGE.git
    assert result.data.metrics["parity.cosine_mean"] == 0.99
    assert [(m.step, m.value) for m in client.get_metric_history(first.run_id, "loss")] == [(1, 0.7), (2, 0.5)]
    assert [m.value for m in client.get_metric_history(first.run_id, "ndcg_at_10")] == [0.5, 0.75]
    assert [file.path for file in client.list_artifacts(first.run_id)] == ["report.json"]
    assert (tmp_path / "tracking" / "artifacts" / first.run_id).is_dir()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert sorted(run.info.status for run in client.search_runs([experiment.experiment_id])) == [
        "FINISHED",
        "FINISHED",
        "KILLED",
    ]

    registry = Registry(uri)
    assert registry.promote("shop", "encoder", "1") == "tandem-shop-encoder"
    assert [(entry.version, entry.aliases, entry.best) for entry in registry.versions()] == [
        ("1", ("champion",), 0.75),
        ("2", ("candidate",), 0.75),
    ]
    with pytest.raises(TandemError, match="no version 9 of tandem-shop-encoder; there is: 1, 2"):
        registry.promote("shop", "encoder", "9")
    assert capfd.readouterr() == ("", "")


def test_a_server_that_is_down_tells_no_password(capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []
    with MlflowTracker("http://me:s3cret@127.0.0.1:9", calls.append).run(LINEAGE, {}) as run:
        assert run.record(REPORT, "d", []) is None
    assert calls == ["not tracked in http://127.0.0.1:9, training goes on: MlflowException"]
    assert capfd.readouterr() == ("", "")
