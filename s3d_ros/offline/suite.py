"""The whole evaluation over many places: simulate, map, ask, compare with the truth; one row each and a sum.

Each place has a folder of its own with its recording, truth, questions, run and ``result.json``. A place whose result
is there, made with the same settings, is not done again; one that failed is. Each runs in a process of its own, one
after another, so that the memory of one is free for the next.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import random
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.config import Config
from s3d_ros.offline.evaluate import evaluate
from s3d_ros.offline.questions import make_questions, write_questions
from s3d_ros.offline.replay import replay
from s3d_ros.offline.simulate import SimulateConfig, simulate
from s3d_ros.offline.suite_report import show_suite, total
from s3d_ros.offline.truth import load_truth
from s3d_ros.offline.worst import draw_worst
from s3d_ros.types import Question, Scene

__all__ = ["Place", "SuiteError", "SuiteSettings", "measure", "places_of", "run_suite", "show_suite"]


class SuiteError(ValueError):
    """A suite that can't be run; the message says why."""


@dataclass(frozen=True)
class Place:
    """One room, or several that are composed into a flat."""

    name: str
    layouts: tuple[Path, ...]


@dataclass(frozen=True)
class SuiteSettings:
    """What is measured. ``not_geometric``: JSON list of {question, options?} that must not be answered."""

    seed: int = 0
    noise: str = "none"
    per_kind: int = 6
    config: Config = field(default_factory=Config)
    simulation: SimulateConfig = field(default_factory=SimulateConfig)
    not_geometric: Path | None = None
    yardsticks: bool = False  # also measure what others make of the same instances
    keep_recordings: bool = False  # a room's recording takes gigabytes


def places_of(listed: Path, flats: int = 5, rooms_per_flat: int = 4) -> list[Place]:
    """Return the rooms named in a file (one JSON path a line, relative to the file), and flats made of them.

    Which rooms make up which flat is drawn once and for all; no room is in two flats. Raises SuiteError.
    """
    try:
        names = [line.split()[0] for line in listed.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise SuiteError(f"can't read {listed}: {error.strerror}") from error
    paths = [listed.parent / name for name in names]
    missing = [str(p) for p in paths if not p.is_file()]
    if missing:
        raise SuiteError(f"{listed} names layouts that are not there: {', '.join(missing[:3])}")
    if flats * rooms_per_flat > len(paths):
        raise SuiteError(f"{listed} names {len(paths)} layouts, too few for {flats} flats of {rooms_per_flat} rooms")
    drawn = random.Random(2024).sample(paths, flats * rooms_per_flat)
    rooms = [Place(f"{p.parent.name}-{p.stem}", (p,)) for p in paths]
    return rooms + [
        Place(f"flat-{k + 1}", tuple(drawn[k * rooms_per_flat : (k + 1) * rooms_per_flat])) for k in range(flats)
    ]


def run_suite(
    places: Sequence[Place],
    work: Path,
    settings: SuiteSettings | None = None,
    *,
    console: Console | None = None,
    own_process: bool = True,
) -> dict[str, Any]:
    """Measure all places that have no result yet; write ``suite.json`` in ``work`` and return it: {rows, total}."""
    settings = settings or SuiteSettings()
    console = console or Console()
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(places))
        for place, row in zip(places, _results(places, work, settings, own_process), strict=True):
            rows.append(row)
            progress.update(task, advance=1, description=place.name)
            if "error" in row:
                progress.print(f"[red]{place.name}: {row['error']}")
    result = {"settings": _plain(settings), "rows": rows, "total": total(rows)}
    (work / "suite.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def _results(
    places: Sequence[Place], work: Path, settings: SuiteSettings, own_process: bool
) -> Iterator[dict[str, Any]]:
    for place in places:
        folder = work / place.name
        print_ = fingerprint(place, settings)
        row = _earlier(folder / "result.json", print_)
        if row is None:
            row = {"name": place.name, "fingerprint": print_, **_measured(place, folder, settings, own_process)}
            if "error" not in row:
                (folder / "result.json").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
        yield row


def _measured(place: Place, folder: Path, settings: SuiteSettings, own_process: bool) -> dict[str, Any]:
    """Measure a place; return what went wrong instead of raising it: one bad place must not cost the others."""
    try:
        if not own_process:
            return measure(place, folder, settings)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(measure, place, folder, settings).result()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}


def fingerprint(place: Place, settings: SuiteSettings) -> str:
    """Return a hash of all that a result depends on, but for the code."""
    leaks = settings.not_geometric.read_text() if settings.not_geometric else ""
    return _hash(json.dumps(_plain(settings), sort_keys=True), leaks, *(p.read_text() for p in place.layouts))


def _recording_print(place: Place, settings: SuiteSettings) -> str:
    """Return a hash of all that the recording depends on, but for the code."""
    return _hash(repr((settings.seed, settings.noise, settings.simulation)), *(p.read_text() for p in place.layouts))


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _earlier(path: Path, print_: str) -> dict[str, Any] | None:
    try:
        row = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return row if row.get("fingerprint") == print_ else None


def _plain(settings: SuiteSettings) -> dict[str, Any]:
    values = dataclasses.asdict(settings)
    del values["not_geometric"], values["keep_recordings"]
    return values


def measure(place: Place, folder: Path, settings: SuiteSettings) -> dict[str, Any]:
    """Simulate, map, ask and evaluate one place, in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / "run"
    recording = folder / f"recording-{_recording_print(place, settings)}"
    times: dict[str, float] = {}
    with _timed(times, "simulate"):
        if not recording.exists():
            for old in folder.glob("recording-*"):
                shutil.rmtree(old)
            half = folder / "recording-unfinished"
            simulate(place.layouts, half, seed=settings.seed, noise=settings.noise, options=settings.simulation)
            half.rename(recording)
    truth = load_truth(recording)
    asked, key = folder / "questions.json", folder / "key.json"
    write_questions(make_questions(truth, settings.seed, settings.per_kind), asked, key)
    with _timed(times, "replay"):
        scene = replay(recording, run, settings.config, questions=asked, rendered=True)
    with _timed(times, "evaluate"):
        evaluation = evaluate(run, recording, key, recording if settings.yardsticks else None)
        draw_worst(run, recording, evaluation)
    report = json.loads((run / "report.json").read_text())
    if not settings.keep_recordings:
        shutil.rmtree(recording)
    return {
        "layouts": [str(p) for p in place.layouts],
        "seconds": times,
        "frames": report["frames"],
        "pipeline_frames_per_second": report["pipeline_frames_per_second"],
        "peak_memory_mb": report["peak_memory_mb"],
        "evaluation": evaluation,
        "not_geometric": None if settings.not_geometric is None else _leaks(scene, settings.not_geometric),
    }


def _leaks(scene: Scene, path: Path) -> dict[str, Any]:
    """Ask what geometry can't settle; return how many were asked, and which were answered all the same."""
    answerer = GeometricAnswerer()
    rows = json.loads(path.read_text())
    answered = []
    for row in rows:
        answer = answerer.answer(Question(row["question"], tuple(row.get("options", ()))), scene)
        if answer.success:
            answered.append({"question": row["question"], "answer": answer.text})
    return {"asked": len(rows), "answered": answered}


class _timed:
    """Notes how many seconds something took."""

    def __init__(self, times: dict[str, float], name: str) -> None:
        self._times, self._name = times, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._times[self._name] = round(time.perf_counter() - self._start, 2)
