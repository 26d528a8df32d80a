"""A benchmark's result as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_COUNTS = {
    "missing": "questions without a prediction, wrong",
    "unreadable": "predictions of which nothing could be read, wrong",
    "unexpected": "predictions that belong to no question, left out",
    "doubled": "ids with several predictions, the first counts",
    "conflicting": "of these with different ones",
}
_MOST_LETTERS = 70


def show_result(result: Mapping[str, Any], console: Console | None = None) -> None:
    """Print figures, counts and the worst answers."""
    console = console or Console()
    percent = f"{100 * result['bootstrap']['confidence']:g} % interval"
    table = Table(
        title=f"{result['benchmark']}, normalisation {result['normalisation']}, {result['scored']} of "
        f"{result['questions']} questions",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("")
    table.add_column("x 100", justify="right")
    if result["bootstrap"]["samples"]:
        table.add_column(percent, justify="right")
    table.add_column("questions", justify="right")
    for name, figure in result["metrics"].items():
        between = [f"{_number(figure['low'])} to {_number(figure['high'])}"] if result["bootstrap"]["samples"] else []
        table.add_row(name, _number(figure["value"]), *between, str(figure["count"]))
    console.print(table)
    for name, why in result["not_computed"].items():
        console.print(Text(f"{name}: not computed: {why}", style="yellow"), soft_wrap=True)
    for name, rule in result["rules"].items():
        console.print(Text(f"{name}: {rule}"), soft_wrap=True)
    for name, words in _COUNTS.items():
        if result[name]["count"]:
            ids = ", ".join(result[name]["ids"][:5])
            console.print(Text(f"{result[name]['count']} {words}: {ids}", style="yellow"), soft_wrap=True)
    _show_worst(result, console)


def _show_worst(result: Mapping[str, Any], console: Console) -> None:
    if not result["worst"]:
        return
    table = Table("id", "said", "right", title="the worst", title_justify="left", box=SIMPLE_HEAD)
    for row in result["worst"]:
        table.add_row(Text(row["id"]), Text(_short(row["said"])), Text(_short(row["right"])))
    console.print(table)


def _short(value: Any) -> str:
    text = " | ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
