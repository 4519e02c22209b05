"""Plots of load tests as SVG, with the objectives drawn in."""

import io
import logging
from collections.abc import Sequence
from typing import Any

from benchmarks.load.slo import Slo

_COLORS = {"p50_ms": "#7fb3d5", "p95_ms": "#1f6fb2", "p99_ms": "#0b3a66"}
_LIMIT, _ERRORS, _NDCG, _INK = "#b3261e", "#b35900", "#2e7d32", "#555555"

Point = dict[str, Any]  # p50_ms, p95_ms, p99_ms, error_share, ndcg, and what stands on the x axis


def plot(points: Sequence[Point], x: str, x_label: str, slo: Slo, mark: float | None = None) -> str:
    """Latency above; below, the share of errors and, where measured, nDCG@10; each against `x`, with the limits.

    `mark` draws a line at the highest rate. Returns the SVG. Raises ModuleNotFoundError without matplotlib.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # the first time, it logs its font cache
    from matplotlib.figure import Figure

    points = sorted(points, key=lambda point: point[x])
    judged = any(point["ndcg"] is not None for point in points)
    figure = Figure(figsize=(8, 7.5 if judged else 5.5), layout="constrained")
    heights = [3, 1, 1] if judged else [3, 1]
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _latency(axes[0], points, x, slo)
    _line(axes[1], points, x, "error_share", _ERRORS, slo.error_share)
    axes[1].set_ylabel("share of errors")
    if judged:
        _line(axes[2], points, x, "ndcg", _NDCG, slo.ndcg)
        axes[2].set_ylabel("nDCG@10")
    for part in axes:
        if mark is not None:
            part.axvline(mark, color=_INK, linewidth=0.8, linestyle=":")
        part.grid(alpha=0.25)
        part.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(x_label)
    target = io.StringIO()
    figure.savefig(target, format="svg")
    return target.getvalue()


def _latency(axes: Any, points: Sequence[Point], x: str, slo: Slo) -> None:
    for name, color in _COLORS.items():
        shown = [point for point in points if point[name] is not None]
        axes.plot([p[x] for p in shown], [p[name] for p in shown], "o-", color=color, markersize=4, label=name[:3])
        if (limit := getattr(slo, name)) is not None:
            axes.axhline(limit, color=color, linewidth=1, linestyle="--", label=f"{name[:3]} allowed: {limit:g} ms")
    axes.set_yscale("log")
    axes.set_ylabel("latency of what is let in, ms")
    axes.legend(loc="best", edgecolor="none", fontsize=9)


def _line(axes: Any, points: Sequence[Point], x: str, name: str, color: str, limit: float | None) -> None:
    shown = [point for point in points if point[name] is not None]
    axes.plot([p[x] for p in shown], [p[name] for p in shown], "o-", color=color, markersize=4)
    if limit is not None:
        axes.axhline(limit, color=_LIMIT, linewidth=1, linestyle="--")
