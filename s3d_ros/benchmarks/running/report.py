"""The report of a benchmark's runs: a table over variants and answerers beside guessing, plots, and what went worst."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from s3d_ros.benchmarks.running.items import Row
from s3d_ros.benchmarks.running.plots import LEAST_COUNT, figure_names, plot_figures, plot_frames
from s3d_ros.benchmarks.running.worst import ABOUT, PAGE, WORST

FIGURES, FRAMES = "figures.png", "frames.png"
_MOST_LETTERS = 160
_PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<!doctype html><html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<style>body{font:15px/1.5 sans-serif;max-width:1200px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;font-size:13px}td,th{border-bottom:1px solid #ddd;padding:.2em .7em;text-align:right}
td:first-child,th:first-child{text-align:left}small{color:#666}img.plot{max-width:100%}
.worst{border-top:1px solid #ccc;padding:.7em 0}.worst img{height:110px;margin:0 3px 3px 0}
.worst p{margin:.1em 0}</style>
<h1>{{ title }}</h1><p>{{ about }}</p>
{% for table in tables %}<table><tr>{% for cell in table[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in table[1:] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table><br>
{% endfor %}
{% for note in notes %}<p><small>{{ note }}</small></p>{% endfor %}
{% for plot in plots %}<p><img class="plot" src="{{ plot }}" alt="{{ plot }}"></p>{% endfor %}
{% for column, examples in worst %}<h2>Most wrong: {{ column }}</h2>
{% for e in examples %}<div class="worst"><p><b>{{ e.question }}</b> <small>{{ e.id }}</small></p>
<p>said: {{ e.said }}{% if e.error %} ({{ e.error }}){% endif %}; right: {{ e.right }}; points {{ e.points }}</p>
<p><small>reply: {{ e.answer }}</small></p>
<p><a href="{{ e.page }}">{% if e.model %}what the model saw{% else %}the map{% endif %}</a></p>
{% for image in e.images %}<a href="{{ e.page }}"><img src="{{ image }}" alt=""></a>{% endfor %}</div>
{% endfor %}{% endfor %}</html>
"""
)


def write_report(out: Path, title: str, baselines: Mapping[str, Row], results: Sequence[Row]) -> Path:
    """Write ``report.md``, ``report.html`` and the plots into ``out``; return the page."""
    columns = columns_of(baselines, results)
    for old in (FIGURES, FRAMES):
        (out / old).unlink(missing_ok=True)
    tables = [figures_table(columns), runs_table(results)]
    notes = notes_of(results, bool(baselines))
    about = f"{len(results)} runs, {max((r['asked'] for r in results), default=0)} questions. Scores x 100, with their "
    about += "95 % intervals (bootstrap)." if any(_has_interval(r) for r in results) else "intervals left out."
    plots = [
        name
        for name, made in (
            (FIGURES, plot_figures(columns, len(baselines), out / FIGURES, title)),
            (FRAMES, plot_frames(results, out / FRAMES)),
        )
        if made
    ]
    worst = [(r["column"], examples) for r in results if (examples := _worst(out, r))]
    page = out / "report.html"
    page.write_text(
        _PAGE.render(title=title, about=about, tables=tables, notes=notes, plots=plots, worst=worst), encoding="utf-8"
    )
    lines = [f"# {title}", "", about, ""]
    for table in tables:
        lines += [_markdown(table[0]), "|---" * len(table[0]) + "|", *map(_markdown, table[1:]), ""]
    lines += [*(f"- {note}" for note in notes), "", *(f"![{plot}]({plot})" for plot in plots), ""]
    for column, examples in worst:
        lines += [f"## Most wrong: {column}", ""]
        for e in examples:
            lines += [f"- **{_one_line(e['question'])}** said {_one_line(e['said'])}, right {_one_line(e['right'])} "
                      f"([{'what the model saw' if e['model'] else 'the map'}]({e['page']}))"]  # fmt: skip
        lines.append("")
    (out / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return page


def columns_of(baselines: Mapping[str, Row], results: Sequence[Row]) -> dict[str, Row]:
    """Return all results by the heads of their columns, guessing first."""
    return {**baselines, **{row["column"]: row for row in results}}


def figures_table(columns: Mapping[str, Row]) -> list[list[str]]:
    """Return a row for each figure: its name, how many questions it is of, and its value in each column."""
    rows = [["", "questions", *columns]]
    for name in figure_names(columns.values()):
        count = max(c["metrics"][name]["count"] for c in columns.values() if name in c["metrics"])
        rows.append([name, str(count), *(_figure(c["metrics"].get(name)) for c in columns.values())])
    return rows


def runs_table(results: Sequence[Row]) -> list[list[str]]:
    """Return a row for each run: what was asked, what failed, what it saw, and how long it took."""
    rows = [["", "asked", "not asked", "errors", "unreadable", "pictures (median)", "seconds (median, p95)", "by"]]
    for r in results:
        errors = ", ".join(f"{code} {count}" for code, count in r["errors"].items())
        by = ", ".join(f"{name} {count}" for name, count in r["answered_by"].items())
        seconds = f"{r['seconds']['median']:.2f}, {r['seconds']['p95']:.2f}"
        rows.append([r["column"], str(r["asked"]), str(r["not_asked"]), errors or "0", str(r["unreadable"]["count"]),
                     f"{r['images']:g}", seconds, by])  # fmt: skip
    return rows


def notes_of(results: Sequence[Row], guessed: bool) -> list[str]:
    """Return in words how it was scored, and what is not there and why."""
    notes = [f"{name}: {rule}" for name, rule in (results[0]["rules"].items() if results else ())]
    for r in results:
        notes += [f"{r['column']}, {name}: not computed, {why}" for name, why in r["not_computed"].items()]
    if guessed:
        notes.append("guessing draws from the right answers of these very questions: of few it is too good")
    if any(f["count"] < LEAST_COUNT and f["low"] is not None for r in results for f in r["metrics"].values()):
        notes.append(f"fewer than {LEAST_COUNT} questions have no interval, and are in no plot")
    failed = [r["column"] for r in results if r["errors"]]
    if failed:
        notes.append(f"questions that ended in an error count as wrong: {', '.join(failed)}")
    return notes


def show_report(
    title: str, baselines: Mapping[str, Row], results: Sequence[Row], console: Console | None = None
) -> None:
    """Print both tables and the notes."""
    console = console or Console()
    short = {
        head: {**r, "metrics": {k: {**m, "low": None} for k, m in r["metrics"].items()}}
        for head, r in columns_of(baselines, results).items()
    }  # intervals are in the files: a terminal is too narrow for them
    rows = figures_table(short)
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for k, head in enumerate(rows[0]):
        table.add_column(Text(head), justify="left" if k == 0 else "right")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    console.print(table)
    heads, *runs = runs_table(results)
    for run in runs:
        told = "; ".join(f"{head} {cell}" for head, cell in zip(heads[1:], run[1:], strict=True) if cell)
        console.print(Text(f"{run[0]}: {told}"), soft_wrap=True)
    for note in notes_of(results, bool(baselines)):
        console.print(Text(note, style="dim"), soft_wrap=True)


def _worst(out: Path, result: Row) -> list[dict[str, Any]]:
    folder = out / result["folder"] / WORST
    examples = []
    for path in sorted(folder.glob(f"*/{ABOUT}")):
        at = path.parent.relative_to(out)
        images = [str(at / p.name) for p in sorted(path.parent.glob("*.png"))]
        about = json.loads(path.read_text(encoding="utf-8"))
        shown = {key: _short(about[key]) for key in ("said", "right", "answer")}
        model = not (path.parent / "map.png").exists() and (path.parent / "prompt.txt").exists()
        examples.append({**about, **shown, "page": str(at / PAGE), "images": images, "model": model})
    return examples


def _figure(figure: Row | None) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    if figure["low"] is None or figure["count"] < LEAST_COUNT:
        return f"{figure['value']:.1f}"
    return f"{figure['value']:.1f} ({figure['low']:.1f} to {figure['high']:.1f})"


def _has_interval(result: Row) -> bool:
    return any(figure["low"] is not None for figure in result["metrics"].values())


def _markdown(row: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _one_line(value: Any) -> str:
    return " ".join(str(value).split()) or "nothing"


def _short(value: Any) -> str:
    text = _one_line(value)
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"
