"""The dashboard of Grafana, as its file for provisioning and import has it."""

import json
from itertools import groupby
from typing import Any

from docs.generate.panels import PANELS, Panel

_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 24
_SOURCE = {"type": "prometheus", "uid": "${source}"}


def dashboard_page() -> str:
    """The file's text."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row, group in groupby(PANELS, lambda panel: panel.row):
        place = {"h": 1, "w": _COLUMNS, "x": 0, "y": top}
        panels.append({"type": "row", "title": row, "id": len(panels) + 1, "gridPos": place, "panels": []})
        top += 1
        members = list(group)
        for number, panel in enumerate(members):
            x, y = _WIDTH * number % _COLUMNS, top + number * _WIDTH // _COLUMNS * _HEIGHT
            panels.append(_panel(panel, len(panels) + 1, {"h": _HEIGHT, "w": _WIDTH, "x": x, "y": y}))
        top += -(-len(members) * _WIDTH // _COLUMNS) * _HEIGHT
    dashboard = {
        "title": "Tandem",
        "uid": "tandem",
        "tags": ["tandem"],
        "timezone": "utc",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}],
        },
        "panels": panels,
    }
    return json.dumps(dashboard, indent=1) + "\n"


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + i), "datasource": _SOURCE, "expr": query.expression, "legendFormat": query.legend}
        for i, query in enumerate(panel.queries)
    ]
    return {
        "type": "timeseries",
        "id": number,
        "title": panel.title,
        "description": panel.note,
        "gridPos": place,
        "datasource": _SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    }
