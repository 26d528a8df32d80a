"""What a run tells: a line of JSON for each step, and the loss as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_OF_PARTS = ("cross_view", "global_view", "ground")


class Metrics:
    """``OUT/metrics.jsonl`` and ``OUT/loss.png``."""

    def __init__(self, out: Path, step: int) -> None:
        """step: the run goes on behind it; what was told of later ones is dropped, they are made again."""
        out.mkdir(parents=True, exist_ok=True)
        self.path, self.picture = out / "metrics.jsonl", out / "loss.png"
        self.rows = [row for row in read_metrics(self.path) if row["step"] <= step]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    def add(self, **row: Any) -> None:
        """Write a line; it has a "step"."""
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def draw(self) -> None:
        """Draw training and validation loss, those of parts, and the points of the answers, over the steps."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        styles: dict[str, dict[str, Any]] = {"loss": {"lw": 1}, "val_loss": {"marker": "o"}}
        styles |= {key: {"lw": 0.8, "alpha": 0.8} for key in _OF_PARTS}
        for key, style in styles.items():
            rows = [r for r in self.rows if key in r]
            if rows:
                axes.plot([r["step"] for r in rows], [r[key] for r in rows], label=key.replace("_", " "), **style)
        axes.set_xlabel("step")
        axes.set_ylabel("cross-entropy of the answers' tokens")
        axes.set_ylim(bottom=0)
        rows = [r for r in self.rows if "points" in r]
        if rows:
            right = axes.twinx()
            right.plot([r["step"] for r in rows], [r["points"] for r in rows], "g^--", label="points of answers")
            right.set_ylim(0, 1.02)
            right.set_ylabel("points of answers")
        axes.legend(loc="upper right")
        figure.savefig(self.picture, dpi=100)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines; one that was cut off by a kill is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
