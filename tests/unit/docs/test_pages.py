"""The pages that people write: links lead somewhere, and every decision is a whole record."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
SECTIONS = ["Context", "Decision", "Consequences", "Tried and rejected"]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(text: str) -> str:
    """The text without blocks and spans of code, where brackets mean other things."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


def anchors(page: Path) -> set[str]:
    """What a link may name behind #: headings as GitHub and MkDocs turn them into identifiers."""
    lines = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S).splitlines()
    headings = [line.lstrip("#").strip() for line in lines if line.startswith("#")]
    plain = (re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()) for heading in headings)
    return {re.sub(r"\s", "-", heading) for heading in plain}


def broken_links(page: Path) -> list[str]:
    """Relative links of the page that lead to no file, or to no heading of it."""
    broken = []
    for target in _LINK.findall(prose(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        other = page.parent / name if name else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert broken_links(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# The `first` part, of two\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#the-first-part-of-two) [c](https://x.example/none.md)\n`[d](none.md)`\n"
        "[e](none.md) [f](other.md#second) [g](#here)\n```\n[h](none.md)\n```\n"
    )
    assert broken_links(page) == ["none.md", "other.md#second", "#here"]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_is_a_short_record(page: Path) -> None:
    lines = page.read_text("utf-8").splitlines()
    assert re.match(rf"# {int(page.name[:4])}\. \S", lines[0])
    assert [line[3:] for line in lines if line.startswith("## ")] == SECTIONS
    assert len(lines) <= 45
    parts = re.split(r"^## .*\n", "\n".join(lines), flags=re.M)[1:]
    assert all(part.strip() for part in parts)


def test_the_index_lists_every_decision_by_its_title() -> None:
    numbers = [int(page.name[:4]) for page in DECISIONS]
    assert numbers[0] == 1 and len(set(numbers)) == len(numbers)
    listed = re.findall(r"^- \[(.*)\]\((.*)\)$", (DOCS / "decisions/README.md").read_text("utf-8"), flags=re.M)
    titles = [(page.read_text("utf-8").splitlines()[0].removeprefix("# "), page.name) for page in DECISIONS]
    assert sorted(listed) == sorted(titles)


_POINTER = re.compile(r"`([\w.-]+(?:/[\w.-]+)+/?)`((?::(?:(?:,| and)? `\w+`)+)?)")


def pointers(text: str) -> list[tuple[str, list[str]]]:
    """The paths that a page names in backticks, and after a colon the names to look for in each."""
    return [(match[1], re.findall(r"`(\w+)`", match[2])) for match in _POINTER.finditer(text)]


def lost(text: str) -> list[str]:
    """Paths that are not there, and names that are not in the file that is said to have them."""
    result = []
    for name, symbols in pointers(text):
        path = ROOT / name
        if not path.exists():
            result.append(name)
        elif symbols:
            source = path.read_text("utf-8")
            result += [f"{name}: {symbol}" for symbol in symbols if not re.search(rf"\b{symbol}\b", source)]
    return result


def test_architecture_names_what_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert len(pointers(text)) > 100
    assert lost(text) == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "release-format.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_pages_name_files_that_are_there(page: Path) -> None:
    """Paths that begin with a folder of code; others are of a user's own, and those of a release are a page's own."""
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"protos", "deploy", "tests"}
    assert [name for name in lost(page.read_text("utf-8")) if name.split("/")[0] in folders] == []


def test_lost_paths_and_names_are_found() -> None:
    text = (
        "`core/plan.py`: `Plan`, `Plam` and `MAX_TOP_K`; `core/plans.py`, `core`, `engine/onnx`; `core/plan.py`, `no`"
    )
    assert pointers(text)[0] == ("core/plan.py", ["Plan", "Plam", "MAX_TOP_K"])
    assert lost(text) == ["core/plan.py: Plam", "core/plans.py"]
