"""Every generated page, by its path inside `docs`."""

from collections.abc import Callable
from pathlib import Path

from docs.generate.benchmarks import benchmarks_page
from docs.generate.commands import commands_page
from docs.generate.contract import contract_page
from docs.generate.dashboard import dashboard_page
from docs.generate.release import release_page
from docs.generate.settings import settings_page

DOCS = Path(__file__).resolve().parents[1]
PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/grpc.md": contract_page,
    "reference/release-format.md": release_page,
    "benchmarks.md": benchmarks_page,
    "../deploy/monitoring/dashboard.json": dashboard_page,
}
