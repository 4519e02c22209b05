"""The page of benchmarks: what each file of results measured, where and when, and its tables."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.generate.figures import readable
from docs.generate.layouts import DEFAULT, LAYOUTS
from docs.generate.markdown import notice, page, paragraph, table

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RESULTS = BENCHMARKS / "results"
_LONGEST_PARAMETER = 160
_INTRODUCTION = """\
Every section shows one file of `benchmarks/results`: one run, on one machine, of one set of models. Figures of
different sections are of different runs, so compare only what stands in one section. Intervals in brackets are of 95%;
`p` is that of a paired test. Numbers of queries, versions of libraries and all other values are in the file."""


def benchmarks_page(folder: Path = RESULTS) -> str:
    """The page of all results in the folder."""
    runs = [(path, json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))]
    listed = (
        (f"[{path.stem}](#{path.stem})", _purpose(path.stem)[0], _date(run), _processor(run)) for path, run in runs
    )
    return page(
        notice("`benchmarks/results/*.json`"),
        "# Benchmarks",
        _INTRODUCTION,
        table(("results", "what is measured", "date", "processor"), listed),
        *(part for path, run in runs for part in _section(path, run)),
    )


def source_of(stem: str) -> Path:
    """The benchmark whose results a file of this name holds: of the modules that the name begins with, the longest.

    Raises LookupError where there is none.
    """
    modules = {path.stem: path for path in BENCHMARKS.glob("[!_]*.py")}
    modules |= {path.parent.name: path for path in BENCHMARKS.glob("*/__main__.py")}
    names = [name for name in modules if stem == name or stem.startswith(f"{name}_")]
    if not names:
        raise LookupError(f"{stem}.json: no module of benchmarks has that name; name it after the one that wrote it")
    return modules[max(names, key=len)]


def _name(source: Path) -> str:
    return source.parent.name if source.stem == "__main__" else source.stem


def _section(path: Path, run: dict[str, Any]) -> Iterator[str]:
    purpose, command = _purpose(path.stem)
    yield f"## {path.stem}"
    yield purpose
    yield "\n".join(
        (
            f"- Command: `{command}`",
            f"- Run: {_date(run)}, {_hardware(run)}, [`{path.name}`](../benchmarks/results/{path.name})",
            f"- Parameters: {'; '.join(_parameters(run['parameters']))}",
        )
    )
    for each in LAYOUTS.get(_name(source_of(path.stem)), DEFAULT):
        yield each.markdown(run["results"])


def _parameters(parameters: dict[str, Any]) -> Iterator[str]:
    """Those that were given, each as its name and value; what is long stays in the file."""
    for name, value in parameters.items():
        shown = _parameter(value)
        if len(shown) <= _LONGEST_PARAMETER:
            yield f"{readable(name)} {shown}"
        else:
            yield f"{readable(name)} (in the file)"


def _parameter(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{readable(key)} {_parameter(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(_parameter(inner) for inner in value) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:,.12g}" if isinstance(value, int | float) else paragraph(str(value))


def _purpose(stem: str) -> tuple[str, str]:
    """The first sentence of the benchmark's docstring, and its command."""
    source = source_of(stem)
    text = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""
    command = re.search(r"^ {4}(python .+(?:\n {8,}.+)*)", text, re.MULTILINE)
    line = " ".join(command[1].split()) if command else f"python -m benchmarks.{_name(source)} --help"
    return paragraph(text.split("\n\n")[0]), line


def _date(run: dict[str, Any]) -> str:
    return str(run["date"])[:10] if "date" in run else "no date recorded"


def _processor(run: dict[str, Any]) -> str:
    return str(run.get("hardware", run["parameters"]).get("processor", "not recorded"))


def _hardware(run: dict[str, Any]) -> str:
    hardware = run.get("hardware")
    if hardware is None:
        return f"{_processor(run)}, {run['parameters'].get('cores')} cores"
    vnni = "with" if hardware["vnni"] else "without"
    return (
        f"{hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB, {vnni} VNNI, "
        f"Python {hardware['python']}"
    )
