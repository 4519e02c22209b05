"""Runbooks: whole pages, whose metrics, settings and log lines are those of the service."""

import re
from functools import cache
from pathlib import Path

import pytest

from core.plan import Plan
from retrieval.server.settings import ServeSettings
from retrieval.telemetry.names import METRICS, exposed_names

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy/runbooks"
PAGES = sorted(FOLDER.glob("Tandem*.md"))
SECTIONS = ["What it means", "What shoppers see", "What to look at", "What to do", "When to escalate"]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@cache
def sources() -> str:
    """All code that serves, with strings that are split over lines put together."""
    folders = ("core", "catalog", "engine", "retrieval", "lifecycle")
    text = "\n".join(path.read_text() for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return re.sub(r'"\n\s*f?"', "", text)


def code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


@each_page
def test_a_page_answers_what_an_operator_asks(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.+)$", text, flags=re.M) == SECTIONS
    parts = re.split(r"^## .*\n", text, flags=re.M)[1:]
    assert all(part.strip() for part in parts) and "\n1. " in parts[3]


@each_page
def test_links_lead_to_pages(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert (page.parent / target).is_file(), target


@each_page
def test_metrics_settings_and_log_lines_are_the_services(page: Path) -> None:
    text = page.read_text()
    metrics = exposed_names() | {metric.name for metric in METRICS}
    assert {name for name in code(text) if re.fullmatch(r"tandem_\w+", name)} <= metrics
    known = {*ServeSettings.model_fields, *(f"plan.{name}" for name in Plan.model_fields)}
    assert {name for name in code(text) if re.fullmatch(r"(plan\.)?[a-z]+(_[a-z]+)+", name)} <= known | metrics
    for line in re.findall(r"Log: ((?:[^\n]*?`[^`]+`[,;]? ?(?:and )?)+)", text):
        for quoted in code(line):
            for part in filter(None, (each.strip() for each in quoted.split("…"))):
                assert part in sources(), part


def test_the_list_has_every_page() -> None:
    listed = re.findall(r"^- \[(\w+)\]\(\1\.md\)$", (FOLDER / "README.md").read_text(), flags=re.M)
    assert sorted(listed) == [page.stem for page in PAGES] and len(PAGES) >= 17


def test_each_alert_leads_to_its_page_and_each_page_is_an_alerts() -> None:
    rules = (ROOT / "deploy/monitoring/alerts.yaml").read_text()
    alerts = re.findall(r"alert: (\w+)$.*?runbook: (\S+)$", rules, flags=re.M | re.S)
    assert len(alerts) == rules.count("alert: ")
    assert all(page == f"deploy/runbooks/{name}.md" for name, page in alerts)
    assert sorted(name for name, _ in alerts) == [page.stem for page in PAGES]
