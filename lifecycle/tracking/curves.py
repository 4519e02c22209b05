"""The curves of a training as a picture. Needs extra `track`."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.loop import METRIC

CURVES_FILE = "curves.png"
_LOSS, _SCORE, _INK = "#b35900", "#1f6fb2", "#555555"


def draw_curves(report: Mapping[str, Any], title: str, target: Path) -> None:
    """Loss above, validation score below, both by step, with the step of the exported weights.

    Raises ModuleNotFoundError without matplotlib.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # the first time, it logs about its font cache
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5.5), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=11, color=_INK)
    loss, score = figure.subplots(2, 1, sharex=True)
    _line(loss, report["loss"], "loss", _LOSS)
    loss.set_ylabel("mean loss since the last point")
    _line(score, report["validation"], METRIC, _SCORE)
    score.set_ylabel(f"validation {METRIC.replace('_', ' ')}")
    score.set_xlabel("step")
    best, best_step = report["best"], report["best_step"]
    score.axvline(best_step, color=_INK, linewidth=0.8, linestyle=":")
    score.axhline(
        report["start"], color=_INK, linewidth=0.8, linestyle="--", label=f"at the start {report['start']:.3f}"
    )
    score.plot(
        [best_step],
        [best],
        "o",
        color=_SCORE,
        markersize=9,
        fillstyle="none",
        label=f"best: step {best_step}, {best:.3f}",
    )
    score.legend(loc="best", edgecolor="none", framealpha=1, fontsize=9)
    figure.savefig(target)


def _line(axes: Any, entries: list[dict[str, float]], name: str, color: str) -> None:
    axes.plot(
        [entry["step"] for entry in entries], [entry[name] for entry in entries], "o-", color=color, markersize=3.5
    )
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
