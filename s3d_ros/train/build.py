"""``s3d dataset build``: sources to a sharded training set that can be gone on with after a kill.

DIR holds ``train-00000.tar`` and its index ``.json``, more of these, ``card.json``, ``README.md``; ``.work`` while it
is being built: runs, and scenes that are packed and wait for their shard. Shards are filled in the order of the
scenes' names, whichever is done first, so that a build that was killed and gone on with gives the same bytes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from s3d_ros.train.card import write_card
from s3d_ros.train.importers import scene_key
from s3d_ros.train.pool import run_stages
from s3d_ros.train.problems import DatasetError
from s3d_ros.train.settings import BuildSettings
from s3d_ros.train.shards import join_scenes, shard_indices, write_atomically
from s3d_ros.train.sources import UNKNOWN_LICENCE, SceneSource, find_sources, splits_of
from s3d_ros.train.stages import import_all

WORK, STATE = ".work", "build.json"


@dataclass
class Built:
    """What a build gave. failed: scene -> why. made: scenes made by this call; resumed: those that were there."""

    out: Path
    made: int = 0
    resumed: int = 0
    conversations: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def build(
    sources: Sequence[str],
    out: Path,
    settings: BuildSettings | None = None,
    *,
    workers: int | None = None,
    keep_work: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Built:
    """Make a training set, or go on with one. Raises DatasetError; a scene that fails is in the card, not raised.

    workers: processes; None: as many as this one may use cores; 0: none but this one.
    """
    started = time.perf_counter()
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    settings = settings or BuildSettings()
    scenes = find_sources(sources, settings.homes, settings.seed)
    if settings.licence:
        scenes = [replace(s, licence=settings.licence) if s.licence == UNKNOWN_LICENCE else s for s in scenes]
    lists = {name: _names(path) for name, path in settings.lists.items()}
    placed = splits_of(scenes, settings.shares, lists, settings.seed)
    work = out / WORK
    result = Built(out)
    with _claimed(out, settings):
        sharded = _sharded(out, placed)
        imported = import_all(settings, work, {scene_key(s.name) for s in scenes if s.name})
        todo = []
        for source in scenes:
            if source.key not in sharded and not (work / f"{source.key}.json").exists():
                todo.append((source, _about(source, *placed[source.key])))
        result.resumed = len(scenes) - len(todo)
        joiner = _Joiner(out, work, [s.key for s in scenes if s.key not in sharded], placed, settings.shard_mb)
        joiner.done(s.key for s in scenes if (work / f"{s.key}.json").exists())
        for key, wrong in run_stages(todo, settings, work, workers, progress):
            if wrong:
                result.failed[key] = wrong
            else:
                result.made += 1
            joiner.done([key], failed=bool(wrong))
        joiner.finish()
        told = {"imported": imported, "failed": result.failed}
        card = write_card(out, settings, told, result.made, time.perf_counter() - started)
        result.conversations = card["conversations"]
        if not keep_work and not result.failed:
            shutil.rmtree(work, ignore_errors=True)
    result.seconds = time.perf_counter() - started
    if result.failed and not card["scenes"]:
        first = next(iter(result.failed))
        raise DatasetError(f"no scene could be made. {first}: {result.failed[first]}")
    return result


class _Joiner:
    """Puts packed scenes into shards, in their order, as soon as all before them are known."""

    def __init__(
        self, out: Path, work: Path, order: Sequence[str], placed: Mapping[str, tuple[str, str]], shard_mb: float
    ) -> None:
        self._out, self._work, self._limit = out, work, shard_mb * 1e6
        self._waiting: dict[str, list[str]] = {}
        for key in order:
            self._waiting.setdefault(placed[key][1], []).append(key)
        self._split_of = {key: placed[key][1] for key in order}
        self._known: dict[str, bool] = {}

    def done(self, keys: Any, failed: bool = False) -> None:
        """Note that scenes are packed, or failed; write the shards that are full."""
        for key in keys:
            self._known[key] = not failed
        for split in self._waiting:
            while self._write(split, whole=True):
                pass

    def finish(self) -> None:
        """Write what is left, into shards that are not full."""
        for split in self._waiting:
            while self._write(split, whole=False):
                pass

    def _write(self, split: str, whole: bool) -> bool:
        waiting = self._waiting[split]
        taken: list[str] = []
        size = 0
        for key in waiting:
            if key not in self._known:
                if whole:
                    return False
                continue
            taken.append(key)
            size += (self._work / f"{key}.tar").stat().st_size if self._known[key] else 0
            if size >= self._limit:
                break
        if not taken or (whole and size < self._limit):
            return False
        good = [key for key in taken if self._known[key]]
        if good:
            number = len(list(self._out.glob(f"{split}-[0-9][0-9][0-9][0-9][0-9].json")))
            rows = [(key, self._work / f"{key}.tar", json.loads((self._work / f"{key}.json").read_text()))
                    for key in good]  # fmt: skip
            join_scenes(rows, self._out / f"{split}-{number:05d}.tar")
            for key in good:
                (self._work / f"{key}.json").unlink()
                (self._work / f"{key}.tar").unlink()
        self._waiting[split] = [key for key in waiting if key not in taken]
        return True


def _about(source: SceneSource, group: str, split: str) -> dict[str, Any]:
    return {
        "group": group,
        "split": split,
        "made_from": source.kind,
        "dataset": source.dataset,
        "licence": source.licence,
        "source": [*source.paths],
        "seed": source.seed,
    }


def _sharded(out: Path, placed: Mapping[str, tuple[str, str]]) -> set[str]:
    """Return the scenes that shards hold; remove shards that a kill left without their index."""
    listed: Counter[str] = Counter()
    whole = set()
    for path, index in shard_indices(out):
        tar = path.with_suffix(".tar")
        if not tar.exists() or tar.stat().st_size != index["bytes"]:
            raise DatasetError(f"{tar} is not whole; remove it and {path.name}, and build on: its scenes are made anew")
        whole.add(tar.name)
        for row in index["scenes"]:
            listed[row["scene"]] += 1
            if row["scene"] in placed and placed[row["scene"]] != (row["group"], row["split"]):
                raise DatasetError(
                    f"{row['scene']} is in {tar.name} as of {row['group']!r}, split {row['split']!r}; with these "
                    f"sources it would be of {' and '.join(map(repr, placed[row['scene']]))}; take another --out"
                )
    for half in [*out.glob(".*.half"), *(p for p in out.glob("*-[0-9]*.tar") if p.name not in whole)]:
        half.unlink()
    return set(listed)


@contextmanager
def _claimed(out: Path, settings: BuildSettings) -> Iterator[None]:
    """Hold the folder for one build at a time, of one way of making it. Raises DatasetError."""
    state = out / WORK / STATE
    if out.exists() and (
        not out.is_dir() or (any(out.iterdir()) and not (out / STATE).exists() and not state.exists())
    ):
        raise DatasetError(f"{out} exists and is no training set; give another --out, or remove it")
    state.parent.mkdir(parents=True, exist_ok=True)
    mine: dict[str, Any] = {"fingerprint": settings.fingerprint(), "settings": settings.plain()}
    path = out / STATE
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DatasetError(f"{out} is being built by another process; wait for it") from None
        if path.exists():
            earlier = json.loads(path.read_text())
            if earlier["fingerprint"] != mine["fingerprint"]:
                changed = [k for k, v in mine["settings"].items() if earlier["settings"].get(k) != v]
                raise DatasetError(
                    f"{out} was begun with other settings ({', '.join(changed) or 'a file that they name'}); give "
                    "the same ones to go on, or another --out"
                )
        else:
            write_atomically(path, (json.dumps(mine, indent=1) + "\n").encode())
        yield
    (out / ".lock").unlink(missing_ok=True)


def _names(path: Path) -> list[str]:
    try:
        return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise DatasetError(f"can't read the list {path}: {error.strerror}") from error
