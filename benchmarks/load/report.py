"""The HTML report of a load test: verdict, figures, plots and what it ran on, in one file."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment

from benchmarks.common import hardware, versions
from benchmarks.load.slo import Verdict

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ report.title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .8rem; text-align: right }
th:first-child, td:first-child { text-align: left }
.good { color: #2e7d32 } .bad { color: #b3261e } img { max-width: 100% }
</style></head><body>
<h1>{{ report.title }}</h1>
<p class="{{ 'good' if report.good else 'bad' }}"><strong>{{ report.summary }}</strong></p>
{% for name, verdict in report.verdicts.items() %}
<h2>{{ name }}</h2>
<table><tr><th>objective</th><th>seen</th><th>limit</th><th></th></tr>
{% for finding in verdict.findings %}
<tr><td>{{ finding.name }}</td><td>{{ finding.seen | number }}</td><td>{{ finding.limit | number }}</td>
<td class="{{ 'good' if finding.holds else 'bad' }}">{{ 'holds' if finding.holds else 'does not hold' }}</td></tr>
{% endfor %}</table>
{% endfor %}
{% for name, svg in report.plots.items() %}
<h2>{{ name }}</h2><img alt="{{ name }}" src="data:image/svg+xml;base64,{{ svg | base64 }}">
{% endfor %}
{% if report.rows %}
<h2>Figures</h2>
<table><tr>{% for name in report.rows[0] %}<th>{{ name | replace('_', ' ') }}</th>{% endfor %}</tr>
{% for row in report.rows %}
<tr>{% for value in row.values() %}<td>{{ value | number }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% endif %}
{% for name, link in report.links.items() %}<p><a href="{{ link }}">{{ name }}</a></p>{% endfor %}
{% for name, table in tables.items() %}
<h2>{{ name }}</h2><table>
{% for key, value in table.items() %}<tr><td>{{ key }}</td><td>{{ value }}</td></tr>{% endfor %}
</table>
{% endfor %}
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What a page shows. `plots` are SVGs by their heading, `rows` figures that share their names."""

    title: str
    summary: str
    good: bool
    parameters: Mapping[str, Any]
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    plots: Mapping[str, str] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def write_report(report: Report, path: Path) -> Path:
    """Writes the page, plots embedded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = Environment(autoescape=True)
    environment.filters["number"] = number
    environment.filters["base64"] = lambda text: base64.b64encode(text.encode()).decode()
    tables = {"Parameters": report.parameters, "Hardware": hardware(), "Versions": versions()}
    path.write_text(environment.from_string(_PAGE).render(report=report, tables=tables), "utf-8")
    return path


def number(value: Any, digits: int = 4) -> str:
    """A figure as it is shown: so many significant digits, a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
