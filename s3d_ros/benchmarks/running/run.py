"""``s3d benchmark run``: any answerer over a benchmark's scenes, one folder for each answerer and variant.

OUT/benchmark.json                    which benchmark; answers to another one are not mixed in
OUT/ANSWERER/VARIANT/settings.json    what the answers depend on
OUT/ANSWERER/VARIANT/answers.jsonl    a line a question, as they came; prompts.jsonl: what a model was told
OUT/ANSWERER/VARIANT/result.json      scores, errors, times
OUT/ANSWERER/VARIANT/worst/NN/        what the model saw where it was most wrong
OUT/report.md, report.html, *.png     all variants and answerers beside guessing
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3d_ros.answer.choose import Chosen, choose
from s3d_ros.answer.settings import AnswererConfig
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.running.asking import Heard, ask_all, errors_of, wait_for_model
from s3d_ros.benchmarks.running.items import WITHOUT_IDS, QuestionSet, Row, digest_of
from s3d_ros.benchmarks.running.journal import Journal, check_same
from s3d_ros.benchmarks.running.places import Place, Progress
from s3d_ros.benchmarks.running.variants import MAP, Variant
from s3d_ros.benchmarks.running.worst import write_worst
from s3d_ros.chat import ChatModel

Bar = Callable[[str, str], AbstractContextManager[Progress]]
RESULT, BENCHMARK = "result.json", "benchmark.json"
# They change how long an answer takes, or whether there is one, and never which
_NO_MATTER = ("watch.", "server.timeout_s", "server.connect_s", "server.retries", "server.image_cache_mb",
              "server.warm", "server.allow_http", "server.key_variable", "server.url", "device")  # fmt: skip


@dataclass(frozen=True)
class Contestant:
    """An answerer: settings of ``AnswererConfig`` by name. label: as tables and folders call it; "": made of them."""

    settings: Mapping[str, Any]
    label: str = ""

    def config(self, variant: Variant | None) -> AnswererConfig:
        """Return the config for a variant. Raises ConfigError."""
        return AnswererConfig.from_flat({**self.settings, **({} if variant is None else variant.settings)})

    @property
    def name(self) -> str:
        """The label, or answerer and model."""
        config = self.config(None)
        kind, model = config.chosen(), str(config.model.model or config.server.model or "")
        made = "geometric" if not kind else f"{'auto-' if config.answerer == 'auto' else ''}{kind}"
        model = model.rstrip("/").rpartition("/")[2] if kind else ""
        return re.sub(r"[^\w.-]+", "-", self.label or f"{made}{f'-{model}' if model else ''}").strip("-.") or "answerer"


def run_benchmark(
    questions: QuestionSet,
    places: Mapping[str, Place],
    contestants: Sequence[Contestant],
    variants: Sequence[Variant],
    out: Path,
    *,
    workers: int = 1,
    worst: int = 5,
    bar: Bar,
    say: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Ask all contestants in all variants; return their results (``result.json``), those left over from earlier too.

    An answerer without a language model looks at no picture and has one variant alone. Raises BenchmarkError,
    ConfigError, RunError.
    """
    for contestant in contestants:
        contestant.config(None).chosen()
    names = [c.name for c in contestants]
    if len(set(names)) < len(names):
        raise BenchmarkError(f"two answerers are called {Counter(names).most_common(1)[0][0]!r}: give each a --label")
    out.mkdir(parents=True, exist_ok=True)
    check_same(out / BENCHMARK, {"benchmark": questions.title}, out)
    for contestant in contestants:
        _contest(questions, places, contestant, variants, out, workers, worst, bar, say)
    return results_of(out, digest_of(questions), say)


def results_of(out: Path, digest: str, say: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Read all results in a folder that are of these questions; say which are not."""
    found = []
    for path in sorted(out.glob(f"*/*/{RESULT}")):
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["set"] == digest:
            found.append(row)
        else:
            say(f"{path.parent} answers other questions and is left out of the tables")
    return sorted(found, key=lambda r: (r["answerer"], *_order(r["variant"])))


def _order(variant: Row | None) -> tuple[int, bool, bool]:
    return (0, False, False) if variant is None else (variant["frames"], not variant["bev"], not variant["markers"])


def _contest(
    questions: QuestionSet, places: Mapping[str, Place], contestant: Contestant, variants: Sequence[Variant], out: Path,
    workers: int, worst: int, bar: Bar, say: Callable[[str], None],
) -> None:  # fmt: skip
    looks = bool(contestant.config(None).chosen())
    if not looks:
        say(f"{contestant.name} looks at no picture: frames, bird's-eye view and markers make no variants of it")
    heard = Heard()
    chat: ChatModel | None = None
    chosen: Chosen | None = None
    try:
        for variant in variants if looks else [None]:
            config = contestant.config(variant)
            chosen = choose(config, on_prompt=heard.note, running=chat)
            chat = chosen.chat
            _variant(questions, places, contestant, variant, config, chosen, heard, out, workers, worst, bar, say)
    finally:
        if chosen is not None:
            chosen.answerer.close()


def _variant(
    questions: QuestionSet, places: Mapping[str, Place], contestant: Contestant, variant: Variant | None,
    config: AnswererConfig, chosen: Chosen, heard: Heard, out: Path, workers: int, worst: int, bar: Bar,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    name = MAP if variant is None else variant.name
    folder = out / contestant.name / name
    marked = variant is None or variant.markers
    items = [item for item in questions.items if marked or not item.by_id]
    if len(items) < len(questions.items):
        say(f"{contestant.name}, {name}: {len(questions.items) - len(items)} questions are not asked: {WITHOUT_IDS}")
    if not items:
        return
    with Journal(folder, depends_on(questions, config)) as journal:
        with bar(f"loading the model for {contestant.name}", "") as _:
            wait_for_model(chosen)
        with bar(f"{contestant.name}, {name}", "questions") as progress:
            ask_all(questions, items, places, chosen, journal, heard, workers=workers, progress=progress)
        rows = [journal.rows[item.id] for item in items]
    scored = questions.score(rows, items)
    seconds = [row["seconds"] for row in rows]
    result = {
        "answerer": contestant.name,
        "variant": None if variant is None else asdict(variant),
        "folder": str(folder.relative_to(out)),
        "column": contestant.name if variant is None else f"{contestant.name}, {variant.title}",
        "set": digest_of(questions),
        "asked": len(items),
        "not_asked": len(questions.items) - len(items),
        "errors": errors_of(rows),
        "answered_by": dict(Counter(row["answered_by"] for row in rows if row["answered_by"])),
        "images": float(np.median([row["images"] for row in rows])),
        "seconds": {"median": round(float(np.median(seconds)), 3), "p95": round(float(np.percentile(seconds, 95)), 3)},
        **scored,
    }
    half = folder / f"{RESULT}.half"
    half.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    half.replace(folder / RESULT)
    kept = {row["id"]: row for row in rows}
    write_worst(folder, [row for row in scored["worst"] if row["id"] in kept][:worst], kept, places, config.prompt)


def depends_on(questions: QuestionSet, config: AnswererConfig) -> Row:
    """Return by name what an answer depends on beside its question and its map, which are kept with it."""
    looks = bool(config.chosen())
    flat = {name: value for name, value, _ in config.flat() if not name.startswith(_NO_MATTER)}
    if config.server.url and not config.server.model:  # then only the place tells which model it is
        flat["server.url"] = config.server.url
    return {"benchmark": questions.title, **(flat if looks else {"answerer": "geometric"})}
