"""The README's table and plot, from one file of results.

    python -m benchmarks.figures

writes `docs/images/peers.svg` and the table between the marks in README.md. A test compares both with the results.
"""

import json
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
README, PLOT = ROOT / "README.md", ROOT / "docs/images/peers.svg"
RESULTS = ROOT / "benchmarks/results/peers_int8.json"
_MARKED = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.S)
_NAMES = {
    "sentence-transformers": "sentence-transformers, fp32",
    "onnx-int8": "sentence-transformers, ONNX int8",
    "openvino-int8": "sentence-transformers, OpenVINO int8",
    "tandem, same weights": "**Tandem, same weights**",
    "tandem, as served": "**Tandem, as served**",
}
_OURS, _THEIRS = "#2a7f62", "#9aa5b1"


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Programs as rows of Markdown, as they stand in the results."""
    lines = [
        "| program | queries/s, 1 client | queries/s, 8 clients | p99 ms, 8 clients | products embedded/s | peak MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows.items():
        one, eight = row["speeds"]["1"], row["speeds"]["8"]
        lines.append(
            f"| {_NAMES[name]} | {one['queries_per_s']:.1f} | {eight['queries_per_s']:.1f} | {eight['p99_ms']:,.0f} "
            f"| {row['products_per_s']:,.0f} | {row['peak_mib']:,.0f} |"
        )
    return "\n".join(lines)


def plot(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Queries per second of each program at 8 clients, as SVG. The same rows give the same text."""
    names = list(rows)[::-1]
    values = [rows[name]["speeds"]["8"]["queries_per_s"] for name in names]
    colours = [_OURS if name.startswith("tandem") else _THEIRS for name in names]
    with matplotlib.rc_context({"svg.hashsalt": "tandem", "svg.fonttype": "none", "font.size": 11}):
        figure, axes = plt.subplots(figsize=(8, 2.6))
        bars = axes.barh([_NAMES[name].strip("*") for name in names], values, color=colours)
        axes.bar_label(bars, fmt="%.1f", padding=4)
        axes.set_title("queries/s at 8 clients: retrieve 100, rescore 32, two cores", fontsize=11, loc="left")
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.xaxis.set_visible(False)
        text = StringIO()
        figure.savefig(text, format="svg", bbox_inches="tight", facecolor="white", metadata={"Date": None})
        plt.close(figure)
    return re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.M)


def read_rows(path: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """What each program did where candidates were rescored."""
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))["results"]["rescored"]["rows"]
    return rows


def with_table(readme: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The README with the table between its marks. Raises ValueError where it has none."""
    text, count = _MARKED.subn(lambda marks: f"{marks[1]}{table(rows)}\n{marks[2]}", readme)
    if not count:
        raise ValueError("README.md has no marks for the table of figures")
    return text


def main() -> None:
    """Writes both."""
    rows = read_rows()
    PLOT.write_text(plot(rows), "utf-8")
    README.write_text(with_table(README.read_text("utf-8"), rows), "utf-8")


if __name__ == "__main__":
    main()
