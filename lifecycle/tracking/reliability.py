"""The reliability diagram of a ranker's probabilities. Needs extra `track`."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RELIABILITY_FILE = "reliability.png"
_LINE, _INK = "#1f6fb2", "#555555"


def draw_reliability(reliability: Mapping[str, Any], title: str, target: Path) -> None:
    """Draws each bin's share of relevant pairs, with its interval, over their mean probability, and their count.

    `reliability` is that of a ranker's `report.json`. Raises ModuleNotFoundError without matplotlib.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # the first time, it logs about its font cache
    from matplotlib.figure import Figure

    bins = reliability["bins"]
    predicted, observed = [entry["probability"] for entry in bins], [entry["relevant"] for entry in bins]
    below = [max(0.0, entry["relevant"] - entry["low"]) for entry in bins]
    above = [max(0.0, entry["high"] - entry["relevant"]) for entry in bins]
    figure = Figure(figsize=(6, 5.5), dpi=120, layout="constrained")
    figure.suptitle(diagram_title(reliability, title), fontsize=11, color=_INK)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], linestyle="--", linewidth=0.8, color=_INK, label="perfectly calibrated")
    axes.errorbar(
        predicted, observed, [below, above], fmt="o-", color=_LINE, markersize=4, capsize=2, linewidth=1,
        elinewidth=0.8, label="validation pairs, calibrated on other queries",
    )  # fmt: skip
    for entry in bins:
        axes.annotate(
            f"{entry['pairs']:,}", (entry["probability"], entry["relevant"]), (4, -10), textcoords="offset points",
            fontsize=8, color=_INK,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean probability of relevance", ylabel="share relevant", aspect="equal")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", edgecolor="none", framealpha=1, fontsize=8)
    figure.savefig(target)


def diagram_title(reliability: Mapping[str, Any], title: str) -> str:
    """With the expected calibration error and the number of pairs."""
    pairs = sum(entry["pairs"] for entry in reliability["bins"])
    return f"{title}, calibration error {reliability['expected_calibration_error']:.3f} of {pairs:,} pairs"
