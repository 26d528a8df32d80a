"""Two stages of many scenes over several processes: a scene that is mapped is packed before another one is begun."""

from __future__ import annotations

import multiprocessing
import os
import queue
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3d_ros.offline.processes import end_with_parent
from s3d_ros.train.problems import DatasetError
from s3d_ros.train.settings import BuildSettings
from s3d_ros.train.sources import SceneSource

_LOOK_S = 0.3
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_frames: Any = None  # the queue of a worker


@dataclass
class _Frames:
    """Frames mapped so far, and how many there will be, as far as that is known."""

    done: dict[str, int] = field(default_factory=dict)
    total: dict[str, int | None] = field(default_factory=dict)
    scenes: int = 0

    def told(self) -> tuple[int, int | None]:
        known = [t for t in self.total.values() if t]
        if not known:
            return sum(self.done.values()), None
        return sum(self.done.values()), round(sum(known) + sum(known) / len(known) * (self.scenes - len(known)))


def run_stages(
    scenes: Sequence[tuple[SceneSource, dict[str, Any]]],
    settings: BuildSettings,
    work: Path,
    workers: int,
    progress: Callable[[int, int | None], None] | None = None,
) -> Iterator[tuple[str, str]]:
    """Map and pack scenes; yield (key, "" or what went wrong) as each is done, in any order.

    scenes: each with what its index entry says. workers: processes; 0: all in this one, a scene after the other.
    progress: gets frames done, and in all.
    """
    if not workers:
        yield from _one_by_one(scenes, settings, work, progress)
        return
    context = multiprocessing.get_context("spawn")
    news = context.Queue()
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))  # read when a worker starts: as many processes as cores suffice
    told = _Frames(scenes=len(scenes))
    by_key = {source.key: (source, about) for source, about in scenes}
    to_map, to_pack = deque(by_key), deque[str]()
    running: dict[Future[str], tuple[str, str]] = {}
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(news,)) as pool:
            try:
                while to_map or to_pack or running:
                    while (to_map or to_pack) and len(running) < workers:
                        stage, key = ("pack", to_pack.popleft()) if to_pack else ("map", to_map.popleft())
                        source, about = by_key[key]
                        running[pool.submit(_run, stage, source, about, settings, work)] = (stage, key)
                    done, _ = wait(running, _LOOK_S, FIRST_COMPLETED)
                    _hear(news, told)
                    if progress:
                        progress(*told.told())
                    for future in done:
                        stage, key = running.pop(future)
                        wrong = future.result()
                        if wrong or stage == "pack":
                            yield key, wrong
                        else:
                            to_pack.append(key)
            except BrokenProcessPool as error:
                lost = ", ".join(sorted(key for _, key in running.values()))
                raise DatasetError(
                    f"a process ended while it made {lost or 'a scene'} (killed, or out of memory?); build again to go "
                    "on, with fewer --workers if memory is short"
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        news.close()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _one_by_one(
    scenes: Sequence[tuple[SceneSource, dict[str, Any]]],
    settings: BuildSettings,
    work: Path,
    progress: Callable[[int, int | None], None] | None,
) -> Iterator[tuple[str, str]]:
    for number, (source, about) in enumerate(scenes):
        wrong = _run("map", source, about, settings, work) or _run("pack", source, about, settings, work)
        if progress:
            progress(number + 1, len(scenes))
        yield source.key, wrong


def _begin(news: Any) -> None:
    global _frames
    _frames = news
    end_with_parent()
    import cv2

    cv2.setNumThreads(1)


def _run(stage: str, source: SceneSource, about: dict[str, Any], settings: BuildSettings, work: Path) -> str:
    """Do one stage; return what went wrong, instead of raising it: one bad scene must not cost the others."""
    from s3d_ros.train.stages import map_scene, pack

    def progress(done: int, total: int | None) -> None:
        if _frames is not None and (done % 5 == 0 or done == total):
            _frames.put((source.key, done, total))

    try:
        if stage == "map":
            map_scene(source, settings, work, progress)
        else:
            pack(source, settings, work, about)
    except Exception as error:
        if not type(error).__module__.startswith("s3d_ros.") and not isinstance(error, OSError):
            return f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        return f"{error}"
    return ""


def _hear(news: Any, told: _Frames) -> None:
    while True:
        try:
            key, done, total = news.get_nowait()
        except queue.Empty:
            return
        told.done[key], told.total[key] = done, total
