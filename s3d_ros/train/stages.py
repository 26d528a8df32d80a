"""The two stages of making one scene: map it (drawing it first, where it is simulated), and pack it.

They run in processes of their own, those of different scenes at the same time: while one is mapped, another is encoded.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from s3d_ros.benchmarks.scene_boxes import SceneBoxes, read_boxes
from s3d_ros.offline.questions import make_questions
from s3d_ros.offline.recording import Recording, every_nth, open_recording
from s3d_ros.offline.replay import Progress, run_recording
from s3d_ros.offline.run import load_scene
from s3d_ros.offline.simulate.config import SimulateConfig
from s3d_ros.offline.simulate.live import SimulatedHome
from s3d_ros.offline.truth import load_truth, shown_frames
from s3d_ros.prompt.numbers import present
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.examples import Example, from_question
from s3d_ros.train.importers import import_annotations, scene_key
from s3d_ros.train.pack import TrueThings, pack_scene
from s3d_ros.train.problems import DatasetError
from s3d_ros.train.proposals import Matches, match_proposals
from s3d_ros.train.settings import BuildSettings
from s3d_ros.train.shards import write_atomically, write_scene
from s3d_ros.train.small.examples import examples as small_examples
from s3d_ros.train.sources import HOME, RUN, SceneSource
from s3d_ros.types import OrientedBox, Scene

IMPORTED = "annotations"  # folder of the examples by scene, read from the official files once


def run_of(source: SceneSource, work: Path) -> Path:
    """Return the run of a scene: its own, or the one that is made of it."""
    return Path(source.paths[0]) if source.kind == RUN else work / source.key / "run"


def map_scene(source: SceneSource, settings: BuildSettings, work: Path, progress: Progress | None = None) -> None:
    """Map a scene, unless that was done: its run appears whole or not at all."""
    run = run_of(source, work)
    if source.kind == RUN or run.exists():
        return
    folder, half = work / source.key, work / source.key / "unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    recording: Recording
    if source.kind == HOME:
        width, height = settings.size
        options = SimulateConfig(width=width, height=height, fps=settings.fps, truth_images=False)
        layouts = [Path(p) for p in source.paths]
        recording = SimulatedHome(layouts, folder, seed=source.seed, noise=settings.noise, options=options)
    else:
        recording = open_recording(source.paths[0], settings.config.frames)
        if settings.every > 1:
            recording = every_nth(recording, settings.every)
    run_recording(recording, half, settings.config, progress=progress)
    half.rename(run)


def pack(source: SceneSource, settings: BuildSettings, work: Path, about: Mapping[str, object]) -> None:
    """Write a scene's tar and, after it, its summary: that one is there means that the other is."""
    run = run_of(source, work)
    scene = load_scene(run)
    examples, truth, left_out = _asked(source, settings, work, scene)
    members, summary = pack_scene(
        source.key, run, examples, truth, settings.prompt, about,
        quality=settings.jpeg_quality, wordings=settings.wordings, seed=settings.seed,
    )  # fmt: skip
    summary["left_out"] = dict(Counter(summary["left_out"]) + left_out)
    report = json.loads((run / "report.json").read_text())
    summary["frames"] = report["frames"]
    write_scene(work / f"{source.key}.tar", members)
    write_atomically(work / f"{source.key}.json", json.dumps(summary, ensure_ascii=False).encode())
    shutil.rmtree(work / source.key, ignore_errors=True)


def _asked(
    source: SceneSource, settings: BuildSettings, work: Path, scene: Scene
) -> tuple[list[Example], TrueThings | None, Counter[str]]:
    """Return what is asked about a scene, and what is true of it, where that is known."""
    truth_of = work / source.key if source.kind == HOME else Path(source.truth) if source.truth else None
    if truth_of is not None:
        known = load_truth(truth_of)
        shown = shown_frames(known, stamps_ns=[v.stamp_ns for v in scene.views])
        made = make_questions(known, settings.seed + source.seed, settings.per_kind, kinds=settings.kinds, shown=shown)
        seen = {o.id: o for o in known.objects if o.first_seen_s is not None}
        things = _true_things({i: o.box for i, o in seen.items()}, {i: o.label for i, o in seen.items()},
                              scene, settings, True)  # fmt: skip
        asked = [from_question(q) for q in made]
        if settings.small:
            asked += small_examples(things.boxes, things.labels, things.matches.map_ids, settings.small,
                                    settings.seed + source.seed)  # fmt: skip
        return asked, things, Counter()
    examples = read_imported(work, source.name)
    boxes: SceneBoxes = {} if settings.boxes is None else read_boxes(settings.boxes)
    own = next((boxes[name] for name in boxes if scene_key(name) == scene_key(source.name)), None)
    if own is None and settings.small and not examples:  # the map is its own teacher: where things are it knows
        there = present(scene)
        itself = Matches({o.id: o.id for o in there}, {o.id: 1.0 for o in there})
        things = TrueThings({o.id: o.box for o in there}, {o.id: o.label for o in there}, itself)
        asked = small_examples(things.boxes, things.labels, itself.map_ids, settings.small, settings.seed)
        return asked, things, Counter()
    if own is None:
        needs = [e for e in examples if e.named]
        left_out = Counter({"no true boxes of its scene were given (--boxes)": len(needs)}) if needs else Counter[str]()
        return [e for e in examples if not e.named], None, left_out
    return examples, _true_things(own, {}, scene, settings, settings.boxes_oriented), Counter()


def _true_things(
    boxes: Mapping[int, OrientedBox],
    labels: Mapping[int, str],
    scene: Scene,
    settings: BuildSettings,
    oriented: bool,
) -> TrueThings:
    return TrueThings(boxes, labels, match_proposals(boxes, present(scene), settings.proposal_iou, oriented))


def import_all(settings: BuildSettings, work: Path, scenes: set[str]) -> dict[str, dict[str, object]]:
    """Read the official files once; keep the examples of each scene for its packing. Return what came of each file."""
    by_scene: dict[str, list[Example]] = {}
    told: dict[str, dict[str, object]] = {}
    for name, paths in settings.annotations:
        found = import_annotations(name, paths)
        left_out = Counter(found.left_out)
        kept = 0
        for scene, examples in found.examples.items():
            key = scene_key(scene)
            if key in scenes:
                by_scene.setdefault(key, []).extend(examples)
                kept += len(examples)
            else:
                left_out["its scene is none of the sources"] += len(examples)
        if name in told:
            raise DatasetError(f"{name} is given twice; its ids would be doubled. Build two sets, one for each file")
        told[name] = {"rows": found.total, "examples": kept, "left_out": dict(left_out)}
    folder = work / IMPORTED
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for key, examples in by_scene.items():
        rows = [{**vars(e), "situation": None} for e in examples]  # official files give no pose that could be used
        (folder / f"{key}.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return told


def read_imported(work: Path, name: str) -> list[Example]:
    """Return the examples of official files about a scene."""
    path = work / IMPORTED / f"{scene_key(name)}.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    lists = ("objects", "options")
    return [Example(**{**row, "task": Task(row["task"]), **{k: tuple(row[k]) for k in lists}}) for row in rows]
