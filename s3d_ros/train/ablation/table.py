"""What came of a grid: means over seeds with their spread, differences with their errors, as Markdown and JSON.

A difference counts as visible where it has the same sign with every seed and is more than twice its standard error,
which takes in the spread over seeds and that of the questions. With three seeds that is no proof; it is a sieve.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3d_ros.train.ablation.grid import COMPARISONS, MORE_ARMS, UNTRAINED, WITH, Arm, Comparison
from s3d_ros.train.ablation.run import RUNS, SCORES
from s3d_ros.types import F64

NAMED = " named"
GROUPS = ("by number", "by name", "legend")
_LEGEND = ("category", "id", "count")  # the words of the prompt tell them
_TITLES = {
    "by number": "where things are, things by number", "by name": "the same, things by name",
    "legend": "what the legend tells", "frames": "in a frame",
}  # fmt: skip


def group_of(kind: str) -> str:
    """Return what a kind of question counts to.

    >>> group_of("left_right"), group_of("left_right named"), group_of("count named")
    ('by number', 'by name', 'legend')
    """
    bare = kind.removesuffix(NAMED)
    if bare in _LEGEND:
        return "legend"
    if bare.startswith(("obj_obj", "camera_")):
        return "frames"
    return "by name" if kind != bare else "by number"


@dataclass(frozen=True)
class Asked:
    """An arm asked with all seeds, shown ``sight``. points: (seeds, questions) 0 to 1; kinds: of the questions."""

    arm: str
    sight: str
    points: F64
    kinds: tuple[str, ...]
    step_s: float  # of one step, a mean over all runs; NaN for what was not trained
    losses: Mapping[str, F64]  # name: (seeds, 2) at the beginning and at the end

    def of(self, groups: Sequence[str]) -> F64:
        """Return the points of the questions of some groups, (seeds, those questions)."""
        return self.points[:, [group_of(k) in groups for k in self.kinds]]

    def of_kind(self, kind: str) -> F64:
        return self.points[:, [k == kind for k in self.kinds]]


@dataclass(frozen=True)
class Spread:
    """A mean over seeds; sd: over seeds (n - 1), NaN for one; error: standard error from the questions alone."""

    mean: float
    sd: float
    error: float
    questions: int


def spread(points: F64) -> Spread:
    """Return it of points (seeds, questions)."""
    seeds, count = points.shape
    if not count:
        return Spread(math.nan, math.nan, math.nan, 0)
    means = points.mean(axis=1)
    error = float(points.mean(axis=0).std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan
    return Spread(float(means.mean()), float(means.std(ddof=1)) if seeds > 1 else math.nan, error, count)


@dataclass(frozen=True)
class Difference:
    """one - other over the same questions and seeds. seeds: of each; error: of the mean; verdict: in words."""

    mean: float
    seeds: tuple[float, ...]
    error: float
    verdict: str


def difference(one: F64, other: F64) -> Difference:
    """Compare points (seeds, questions) question by question; one row stands for any number of seeds."""
    apart = one - other
    if not apart.shape[1]:
        return Difference(math.nan, (), math.nan, "not asked")
    means = apart.mean(axis=1)
    over_seeds = float(means.std(ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else 0.0
    over_questions = float(apart.mean(axis=0).std(ddof=1)) / math.sqrt(apart.shape[1]) if apart.shape[1] > 1 else 0.0
    error, mean = math.hypot(over_seeds, over_questions), float(means.mean())
    alike = bool((np.sign(means) == np.sign(mean)).all())
    visible = alike and abs(mean) > 2 * error
    verdict = "no difference visible" if not visible else "better" if mean > 0 else "worse"
    return Difference(mean, tuple(float(m) for m in means), error, verdict)


def read_results(out: Path, arms: Sequence[Arm], seeds: int) -> dict[tuple[str, str], Asked]:
    """Return what is finished, by arm and sight: the seeds that all arms have, so that all stand on the same ones."""
    held: dict[str, list[dict[str, Any]]] = {}
    for name, numbers in [(UNTRAINED, [""]), *((arm.name, [f"-{s}" for s in range(seeds)]) for arm in arms)]:
        files = [out / RUNS / f"{name}{number}" / SCORES for number in numbers]
        held[name] = [json.loads(f.read_text(encoding="utf-8")) for f in files if f.is_file()]
    optional = {arm.name for arm in MORE_ARMS}
    whole = min((len(rows) for name, rows in held.items() if name not in optional | {UNTRAINED}), default=0)
    results = {}
    for name, rows in held.items():
        rows = rows if name == UNTRAINED else rows[:whole] if name not in optional else rows
        for sight in rows[0]["asked"] if rows else ():
            asked = [sorted(r["asked"][sight], key=lambda q: str(q["id"])) for r in rows]
            points = np.array([[q["points"] for q in one] for one in asked], dtype=np.float64)
            steps = sum(r.get("steps", 0) for r in rows)
            losses = {k: np.array([r["losses"][k] for r in rows]) for k in rows[0].get("losses", {})}
            results[name, sight] = Asked(
                name, sight, points, tuple(q["kind"] for q in asked[0]),
                sum(r.get("step_s", 0.0) for r in rows) / steps if steps else math.nan, losses,
            )  # fmt: skip
    return results


def compared(
    results: Mapping[tuple[str, str], Asked], group: str, comparisons: Sequence[Comparison] = COMPARISONS
) -> list[tuple[Comparison, Difference]]:
    """Return the comparisons of which both sides are there, over one group of questions."""
    out = []
    for one in comparisons:
        if one.one in results and one.other in results:
            a, b = results[one.one].of([group]), results[one.other].of([group])
            seeds = min(len(a), len(b))
            out.append((one, difference(a[:seeds], b[:seeds])))
    return out


def markdown(results: Mapping[tuple[str, str], Asked], arms: Sequence[Arm], guess: Mapping[str, Spread]) -> str:
    """Return the tables. guess: by group and kind."""
    titles = {UNTRAINED: "untrained", **{arm.name: arm.title for arm in arms}}
    some = next(iter(results.values()))
    groups = [g for g in (*GROUPS, "frames") if some.of([g]).shape[1]]
    seeds = max(len(r.points) for r in results.values())
    lines = [
        f"Points of 100, mean +- standard deviation over {seeds} seeds; in brackets the standard error that the "
        "number of questions leaves.",
        "",
        "| trained | asked | "
        + " | ".join(f"{_TITLES[g]} ({some.of([g]).shape[1]})" for g in groups)
        + " | s a step |",
        "|---|---" + "|---" * (len(groups) + 1) + "|",
    ]
    for (name, sight), asked in results.items():
        figures = " | ".join(_figure(spread(asked.of([g]))) for g in groups)
        took = "" if math.isnan(asked.step_s) else f"{asked.step_s:.2f}"
        lines.append(f"| {titles.get(name, name)} | {sight} | {figures} | {took} |")
    lines.append("| guessing | | " + " | ".join(_figure(guess[g]) for g in groups) + " | |")
    for group in (g for g in groups if g in GROUPS):
        lines += ["", f"Differences, {_TITLES[group]}:", ""]
        lines += ["| | minus | points | each seed | error | it is | the paper |", "|---|---|---|---|---|---|---|"]
        for one, found in compared(results, group):
            a, b = (f"{titles.get(name, name)}, asked {sight}" for name, sight in (one.one, one.other))
            each = ", ".join(f"{100 * s:+.1f}" for s in found.seeds)
            told = f"{100 * found.mean:+.1f} | {each} | {100 * found.error:.1f} | {found.verdict}"
            lines.append(f"| {a} | {b} | {told} | {one.said} |")
    kinds = sorted(dict.fromkeys(some.kinds), key=lambda k: (group_of(k), k))
    titled = " | ".join(f"{titles.get(name, name)}, {sight}" for name, sight in results)
    lines += [
        "",
        "By kind, means over seeds:",
        "",
        f"| kind | {titled} | guessing |",
        "|---" * (len(results) + 2) + "|",
    ]
    for kind in kinds:
        row = " | ".join(f"{100 * a.of_kind(kind).mean():.0f}" for a in results.values())
        lines.append(f"| {kind} ({some.of_kind(kind).shape[1]}) | {row} | {100 * guess[kind].mean:.0f} |")
    return "\n".join(lines) + "\n"


def plain(results: Mapping[tuple[str, str], Asked], guess: Mapping[str, Spread]) -> dict[str, Any]:
    """Return all of it as JSON can hold it."""
    rows = []
    for (name, sight), asked in results.items():
        names = [*GROUPS, "frames", *dict.fromkeys(asked.kinds)]
        told = {n: vars(spread(asked.of([n]) if n in (*GROUPS, "frames") else asked.of_kind(n))) for n in names}
        losses = {k: v.tolist() for k, v in asked.losses.items()}
        rows.append({"trained": name, "asked": sight, "seeds": len(asked.points), "step_s": asked.step_s,
                     "points": told, "losses": losses})  # fmt: skip
    differences = [
        {"one": c.one, "other": c.other, "group": group, "paper": c.said, **vars(d)}
        for group in GROUPS
        for c, d in compared(results, group)
    ]
    return {"arms": rows, "differences": differences, "guessing": {k: vars(v) for k, v in guess.items()}}


def draw(
    results: Mapping[tuple[str, str], Asked], arms: Sequence[Arm], guess: Mapping[str, Spread], path: Path
) -> None:
    """Draw the means of each arm with a dot for each seed, and what guessing gets."""
    from matplotlib.figure import Figure

    titles = {UNTRAINED: "untrained", **{arm.name: arm.title for arm in arms}}
    names = [f"{titles.get(n, n)}{'' if s == WITH else ', asked without'}" for n, s in results]
    figure = Figure(figsize=(12, 0.8 + 0.36 * len(names)), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(GROUPS), sharey=True), GROUPS, strict=True):
        for y, asked in enumerate(results.values()):
            if not asked.of([group]).shape[1]:
                continue
            means = 100 * asked.of([group]).mean(axis=1)
            error = 100 * spread(asked.of([group])).error
            axes.barh(y, means.mean(), color="#b5c9de", xerr=error, ecolor="#777", height=0.7)
            axes.plot(means, [y] * len(means), "o", color="#1f4e79", ms=4)
        axes.axvline(100 * guess[group].mean, color="#c0504d", ls="--", lw=1, label="guessing")
        axes.set_yticks(range(len(names)), names)
        axes.set_title(_TITLES[group], fontsize=10)
        axes.set_xlabel("points of 100")
        axes.legend(loc="upper right", fontsize=8)
    figure.axes[0].invert_yaxis()
    figure.savefig(path, dpi=110)


def _figure(s: Spread) -> str:
    if not s.questions:
        return ""
    wide = "" if math.isnan(s.sd) else f" +- {100 * s.sd:.1f}"
    return f"{100 * s.mean:.1f}{wide} ({100 * s.error:.1f})"
