"""Plots of a benchmark's results: each figure with its interval, by kind and by number of frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from s3d_ros.benchmarks.running.items import Row

MOST_COLUMNS, MOST_FIGURES = 14, 40
LEAST_COUNT = 5  # a figure of fewer questions is not drawn: its interval would only look small
_GREYS = ("0.75", "0.55", "0.35")


def plot_figures(columns: Mapping[str, Row], guesses: int, path: Path, title: str) -> bool:
    """Draw all figures of all columns, with intervals; the first ``guesses`` in grey. False: nothing to draw."""
    names = [n for n in figure_names(columns.values()) if _count(columns, n) >= LEAST_COUNT][:MOST_FIGURES]
    shown = dict(list(columns.items())[:MOST_COLUMNS])
    if not names or not shown:
        return False
    step = 0.8 / max(len(shown) - guesses, 1)
    tall = max(2.5, len(names) * max(0.32, 0.08 * len(shown)) + 0.2 * len(shown) + 1)
    figure, axes = plt.subplots(figsize=(9, tall), layout="constrained")
    hues = plt.get_cmap("tab10" if len(shown) - guesses <= 10 else "tab20")
    for k, (column, result) in enumerate(shown.items()):
        color: Any = _GREYS[min(k, 2)] if k < guesses else hues((k - guesses) % 20)
        for i, name in enumerate(names):
            found = result["metrics"].get(name)
            if found is None or found["value"] is None:
                continue
            y = i - 0.4 + (k - guesses + 0.5) * step
            label = None if any(n in result["metrics"] for n in names[:i]) else f"{column} "
            if k < guesses:
                x = found["value"]
                axes.plot([x, x], [i - 0.38, i + 0.38], color=color, linewidth=2, zorder=1, label=label)
                continue
            axes.plot(found["value"], y, "o", color=color, markersize=4, label=label)
            if found["low"] is not None:
                axes.plot([found["low"], found["high"]], [y, y], "-", color=color, linewidth=1.5)
    axes.set_yticks(range(len(names)), [f"{n} ({_count(columns, n)})" for n in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-2, max(102, axes.get_xlim()[1]))
    for i in range(1, len(names)):
        axes.axhline(i - 0.5, color="0.93", linewidth=0.8, zorder=0)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.set_xlabel("score x 100, with its 95 % interval; bars: guessing")
    axes.set_title(title, fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def plot_frames(results: Sequence[Row], path: Path) -> bool:
    """Draw the first figure over the number of frames, a line for what else was shown. False: one number alone."""
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in results:
        if row["variant"] is not None:
            shown = row["variant"]
            how = ("BEV" if shown["bev"] else "no BEV") + (", markers" if shown["markers"] else ", no markers")
            lines[f"{row['answerer']}, {how}"].append(row)
    if len({row["variant"]["frames"] for some in lines.values() for row in some}) < 2:
        return False
    name = next((n for n in figure_names(results) if all(n in r["metrics"] for s in lines.values() for r in s)), "")
    if not name:
        return False
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    ticks = sorted({row["variant"]["frames"] for some in lines.values() for row in some})
    for k, (label, some) in enumerate(lines.items()):
        some = sorted(some, key=lambda r: r["variant"]["frames"])
        aside = 0.06 * (k - (len(lines) - 1) / 2)  # so that equal lines don't hide each other
        x = [ticks.index(r["variant"]["frames"]) + aside for r in some]
        found = [r["metrics"][name] for r in some]
        y = [f["value"] for f in found]
        gaps = [[f["value"] - (f["low"] or 0) for f in found], [(f["high"] or 0) - f["value"] for f in found]]
        bars = gaps if all(f["low"] is not None for f in found) else None
        axes.errorbar(x, y, yerr=bars, marker="o", markersize=4, capsize=2, linewidth=1.2, label=label)
    axes.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
    axes.set_xlabel("view frames at most")
    axes.set_ylabel(f"{name}, x 100")
    axes.grid(color="0.9")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def figure_names(results: Any) -> list[str]:
    """Return the names of all figures, in the order in which they are met."""
    return list(dict.fromkeys(name for result in results for name in result["metrics"]))


def _count(columns: Mapping[str, Row], name: str) -> int:
    return max(c["metrics"][name]["count"] for c in columns.values() if name in c["metrics"])
