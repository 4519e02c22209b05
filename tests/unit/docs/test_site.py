"""The site is built of the repository's pages without a warning, and its navigation leads to all of them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs.generate.stage import ROOT, links, stage

CONFIG = ROOT / "mkdocs.yml"
# Pages that others list: the index of decisions, for one.
LISTED_ELSEWHERE = re.compile(r"docs/decisions/\d{4}-.*\.md|benchmarks/.*\.md|deploy/runbooks/Tandem\w+\.md")


class _Loader(yaml.SafeLoader):
    """Reads the site's settings, whose tags for Python objects only the builder needs."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def navigation(entry: object) -> list[str]:
    """All pages below an entry of the navigation, in order."""
    if isinstance(entry, str):
        return [entry]
    children = entry.values() if isinstance(entry, dict) else entry
    assert not isinstance(children, int)
    return [page for child in children for page in navigation(child)]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the site's settings and its pages in place."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copyfile(CONFIG, folder / CONFIG.name)
    stage(folder / "build/pages")
    return folder


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(site: Path) -> None:
    outcome = build(site)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    pages = list((site / "build/site").rglob("*.html"))
    assert len(pages) > 50
    loaded = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(https?:[^\"' >]+)")
    assert {url for page in pages for url in loaded.findall(page.read_text("utf-8"))} == set()
    assert "LambdaMART" in (site / "build/site/search.json").read_text("utf-8")


def test_a_link_to_nothing_breaks_the_build(tmp_path: Path) -> None:
    shutil.copyfile(CONFIG, tmp_path / CONFIG.name)
    (tmp_path / "build/pages").mkdir(parents=True)
    (tmp_path / "build/pages/README.md").write_text("# Tandem\n\n[gone](docs/gone.md)\n")
    outcome = build(tmp_path)
    assert outcome.returncode != 0
    assert "page does not exist" in outcome.stdout + outcome.stderr


def test_the_navigation_leads_to_every_page(site: Path) -> None:
    listed = navigation(yaml.load(CONFIG.read_text("utf-8"), _Loader)["nav"])
    pages = {str(path.relative_to(site / "build/pages")) for path in (site / "build/pages").rglob("*.md")}
    assert set(listed) <= pages
    assert sorted(page for page in pages - set(listed) if not LISTED_ELSEWHERE.fullmatch(page)) == []
    assert len(listed) == len(set(listed))


def test_links_are_those_outside_of_code() -> None:
    text = (
        "[a](x.md#part) `[b](y.md)` ![c](z.png) [d](https://e.example/f.md) [g](#here)\n```\n[h](i.md)\n```\n[j](k.md)"
    )
    assert list(links(text)) == ["x.md", "z.png", "k.md"]
