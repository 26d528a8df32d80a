"""A recording through the pipeline, to a run directory."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.config import Config
from s3d_ros.mapfile import check_target, read_map, write_map
from s3d_ros.offline.answers import answer_all, read_questions
from s3d_ros.offline.recording import Recording, RecordingError, TopicNames, open_recording
from s3d_ros.offline.rendered import RenderedWriter
from s3d_ros.offline.report import write_report
from s3d_ros.offline.run import RunWriter
from s3d_ros.offline.view_depth import ViewDepths
from s3d_ros.pipeline import Pipeline
from s3d_ros.segment.choose import make_segmenter
from s3d_ros.types import Frame, PoseNews, Question, Scene

Progress = Callable[[int, int | None], None]


def replay(
    path: Path,
    out: Path,
    config: Config | None = None,
    *,
    questions: Path | None = None,
    topics: TopicNames | None = None,
    rendered: bool = False,
    map_from: Path | None = None,
    map_to: Path | None = None,
    progress: Progress | None = None,
) -> Scene:
    """Run a recording (rosbag2 or dataset folder) through the pipeline; write the run; return the last scene.

    rendered: also note what the map shows in each frame, for ``s3d evaluate``.
    map_from, map_to: a saved map to go on with, and a directory to save the map in at the end.
    Raises RecordingError when there is nothing that can be mapped in it, RunError when ``out`` is in use,
    QuestionsError for a bad questions file, MapFileError, ConfigError.
    """
    config = config or Config()
    asked = read_questions(questions) if questions else []
    recording = open_recording(path, config.frames, topics)
    return run_recording(
        recording, out, config, asked=asked, rendered=rendered, map_from=map_from, map_to=map_to, progress=progress,
        place=_simulated_place(path),
    )  # fmt: skip


def run_recording(
    recording: Recording,
    out: Path,
    config: Config,
    *,
    asked: list[tuple[str, Question]] | None = None,
    rendered: bool = False,
    map_from: Path | None = None,
    map_to: Path | None = None,
    progress: Progress | None = None,
    place: str = "",
) -> Scene:
    """As ``replay``, for a recording that is open. place: what it shows, where that is known, for the report."""
    if config.map.up == "default" and not recording.z_up:
        config = config.with_values({"map.up": "auto"})
    pipeline = Pipeline(config, make_segmenter(config.segment, recording.has_instances))
    if map_to is not None:
        check_target(map_to)  # now, and not when all is done
    if map_from is not None:
        pipeline.restore(read_map(map_from))
    writer = RunWriter(out)
    shown = RenderedWriter(out, config.objects.stride) if rendered else None
    started = time.perf_counter()
    frames, last, depths = 0, None, ViewDepths()
    per_frame_s: list[float] = []
    for arrival in recording:
        begin = time.perf_counter()
        if not (arrival.is_new or config.segment.takes_given):
            continue
        for news in arrival.pose_news:
            _correct(pipeline, news)
        instances = arrival.instances if config.segment.takes_given else None
        result = pipeline.process(arrival.frame, instances, arrival.is_new)
        per_frame_s.append(time.perf_counter() - begin)
        depths.keep(arrival.frame, pipeline.views.stamps())
        writer.frame(arrival.frame, result.instances, result.instance_ids)
        if shown is not None and arrival.is_new:
            shown.frame(arrival.frame, pipeline.objects.ids_at)
        frames, last = frames + int(arrival.is_new), arrival.frame
        if progress:
            progress(frames, recording.frame_count)
    if last is None:
        raise RecordingError(
            f"{recording.name}: no frame could be mapped; dropped: {dict(recording.drops) or 'nothing came'}"
        )
    for news in recording.late_news:
        _correct(pipeline, news)
    scene = pipeline.finish(last)
    if map_to is not None:
        write_map(map_to, pipeline.state())
    report = _report(pipeline, recording, frames, per_frame_s, time.perf_counter() - started, scene, last)
    if place:
        report["place"] = place
    points, colors = pipeline.fusion.extract()
    writer.finish(scene, points, colors, report, ids=pipeline.objects.ids_at(points))
    depths.write(out, scene.views)
    if shown is not None:
        shown.close()
    if asked:
        answers = answer_all(asked, scene, GeometricAnswerer())
        (out / "answers.json").write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
    write_report(out)
    return scene


def _simulated_place(path: Path) -> str:
    """Return the name of the layout that a simulated recording was made of, "" for any other recording."""
    try:
        return str(json.loads((path / "truth.json").read_text())["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _correct(pipeline: Pipeline, news: PoseNews) -> None:
    """Have earlier poses corrected, and the map made anew at once: offline there is time."""
    try:
        pipeline.correct(news)
    except ValueError:  # of another time
        return
    pipeline.remake()


def _report(
    pipeline: Pipeline,
    recording: Recording,
    frames: int,
    per_frame_s: list[float],
    elapsed_s: float,
    scene: Scene,
    last: Frame,
) -> dict[str, Any]:
    tenth = max(1, len(per_frame_s) // 10)
    return {
        "recording": recording.name,
        "frames": frames,
        "drops": dict(recording.drops),
        "objects": len(scene.objects),
        "view_frames": len(scene.views),
        "map_version": scene.map_version,
        "blocks": len(pipeline.fusion),
        "stages": pipeline.times.summary(),
        "frames_per_second": round(frames / elapsed_s, 2),
        "pipeline_frames_per_second": round(len(per_frame_s) / max(sum(per_frame_s), 1e-9), 2),
        "first_tenth_ms": round(1e3 * sum(per_frame_s[:tenth]) / tenth, 3),
        "last_tenth_ms": round(1e3 * sum(per_frame_s[-tenth:]) / tenth, 3),
        "elapsed_s": round(elapsed_s, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
