"""Gathers what the site is built of: `python -m docs.generate.stage FOLDER`.

Pages stand in the root of the repository and in `docs`, and link to each other and to files beside them. The folder
becomes a copy of that part of the tree, so that every link holds as it is written.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\)")


def stage(folder: Path) -> list[Path]:
    """Fills the folder anew, and returns the paths of its files inside it, sorted.

    Links to what is not there are left to the site's builder, which reports them.
    """
    shutil.rmtree(folder, ignore_errors=True)
    files = sorted(linked_files([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]))
    for path in files:
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return [path.relative_to(ROOT) for path in files]


def linked_files(pages: list[Path]) -> set[Path]:
    """The pages, and every file of the repository that they, or pages among these files, link to."""
    staged: set[Path] = set()
    waiting = list(pages)
    while waiting:
        path = waiting.pop()
        if path in staged:
            continue
        staged.add(path)
        if path.suffix == ".md":
            targets = ((path.parent / target).resolve() for target in links(path.read_text("utf-8")))
            waiting += [target for target in targets if target.is_file() and target.is_relative_to(ROOT)]
    return staged


def links(text: str) -> Iterator[str]:
    """Targets of a page's relative links and images, without their anchors; code is no link."""
    for match in _LINK.finditer(_CODE.sub("", text)):
        target = match[1].partition("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            yield target


if __name__ == "__main__":
    print(f"gathered {len(stage(Path(sys.argv[1])))} files in {sys.argv[1]}")
