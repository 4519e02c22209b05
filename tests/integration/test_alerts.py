"""The rules and the dashboard: what they ask of Prometheus is there, and rules fire when they ought to."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from docs.generate.dashboard import dashboard_page
from docs.generate.panels import PANELS, metrics_in
from retrieval.telemetry.names import exposed_names

MONITORING = Path(__file__).resolve().parents[2] / "deploy/monitoring"
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")


def test_rules_and_panels_ask_for_metrics_that_there_are() -> None:
    rules = (MONITORING / "alerts.yaml").read_text()
    panels = " ".join(query.expression for panel in PANELS for query in panel.queries)
    assert metrics_in(rules) and metrics_in(rules) <= exposed_names()
    assert metrics_in(panels) and metrics_in(panels) <= exposed_names()


def test_each_alert_has_a_test_in_which_it_fires_and_a_runbook() -> None:
    rules, tests = ((MONITORING / name).read_text() for name in ("alerts.yaml", "alerts_test.yaml"))
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert len(alerts) == len(set(alerts)) == 17
    for alert in alerts:
        assert re.search(rf'alertname="{alert}".*\n.*\n.*value: 1', tests), alert
        assert f"runbook: deploy/runbooks/{alert}.md" in rules


def test_the_dashboard_shows_each_panel_once_without_overlap() -> None:
    panels = json.loads(dashboard_page())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len(PANELS) + len({p.row for p in PANELS})
    cells: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not mine & cells and place["x"] + place["w"] <= 24
        cells |= mine


@promtool
def test_alerts_fire_on_what_they_are_for_and_on_nothing_else() -> None:
    command = ["promtool", "test", "rules", "alerts_test.yaml"]
    result = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


@promtool
def test_prometheus_reads_the_configuration() -> None:
    command = ["promtool", "check", "config", "prometheus.yaml"]
    result = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
