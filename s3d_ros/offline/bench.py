"""`make bench`: speed and quality of this machine and this version, as ratios inside one run wherever there are any."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open3d as o3d
import open3d.core as o3c
from rich.console import Console
from rich.table import Table

from s3d_ros.config import Config
from s3d_ros.geometry import invert
from s3d_ros.offline.simulate.config import NOISES, SimulateConfig
from s3d_ros.pipeline import Pipeline
from s3d_ros.types import Frame, Instances

PARTS = ("speed", "live", "recording", "layouts")
LONG = ("corrections", "tour", "hour")
MEASURED = ("objects", "refusion", "vlm", "train")  # done only when named, as LONG
_HOME = "living_room"
_FPS = 30.0
_REPEATS = 3
_LIMIT_PIPELINE, _LIMIT_TENTH = 1.8, 1.2

Observed = tuple[Frame, Instances]


def main(arguments: Sequence[str] = ()) -> bool:
    """Measure; return whether every limit that was measured holds. ``s3d bench --help`` tells the options."""
    parser = argparse.ArgumentParser(prog="s3d bench", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder for bench.json and what it needs")
    parser.add_argument("--frames", type=int, default=300, help="frames of a 30 Hz recording for the speed")
    parser.add_argument("--layouts", type=Path, help="a list of layouts (as rich.txt): score the questions over them")
    parser.add_argument("--noise", choices=NOISES, default="none", help="errors of the simulated layouts")
    parser.add_argument("--yardsticks", action="store_true", help="measure others on the same instances of --layouts")
    parser.add_argument("--flats", type=int, default=5, help="flats of four rooms each to make of --layouts")
    parser.add_argument("--places", nargs="*", help="only those of --layouts, by name")
    parser.add_argument("--not-geometric", type=Path, help="questions that must not be answered, for --layouts")
    parser.add_argument("--recording", type=Path, help="a real recording: how well held-out frames are foretold")
    parser.add_argument(
        "--only",
        nargs="*",
        choices=[*PARTS, "changes", *LONG, *MEASURED],
        help="leave out the rest. Done only when named: changes (two visits to each room of --layouts), corrections "
        "(poses that jump), tour (five minutes and back to the start), hour (round the same loop), objects (what a "
        "frame's objects cost in maps of 300 and 3,000), refusion (what mapping suffers while its map is made anew), "
        "vlm (what a question costs a vision-language model; needs torch and transformers), train (what the trainer's "
        "reconstruction losses cost)",
    )
    options = parser.parse_args(list(arguments))
    console = Console()
    wanted = options.only or PARTS
    result: dict[str, Any] = {}
    if "speed" in wanted:
        result["speed"] = speed(options.frames, console)
    if "live" in wanted:
        from s3d_ros.ros.live_bench import measure_live

        result["live"] = measure_live(console)
    if "recording" in wanted and options.recording:
        result["recording"] = foretold(options.recording, console)
    if "layouts" in wanted and options.layouts:
        from s3d_ros.offline.suite import SuiteSettings, places_of, run_suite, show_suite

        settings = SuiteSettings(
            noise=options.noise,
            yardsticks=options.yardsticks,
            simulation=SimulateConfig(twins=options.noise in ("detector", "all")),
            not_geometric=options.not_geometric,
        )
        places = places_of(options.layouts, options.flats)
        if options.places is not None:
            places = [p for p in places if p.name in options.places]
        result["layouts"] = run_suite(places, options.out / "layouts", settings, console=console)
        show_suite(result["layouts"], console)
    if "changes" in wanted and options.layouts:
        from s3d_ros.offline.changes import run_changes
        from s3d_ros.offline.suite import places_of

        rooms = [p for p in places_of(options.layouts, 0) if options.places is None or p.name in options.places]
        result["changes"] = run_changes(rooms, options.out / "changes", options.noise, console)
    for part in (p for p in LONG if p in wanted):
        result[part] = _long_run(part, options.layouts, options.places, options.noise, console)
    if "objects" in wanted:
        from s3d_ros.offline.bench_objects import bench_objects

        result["objects"] = bench_objects(console)
    if "refusion" in wanted:
        from s3d_ros.offline.bench_refusion import bench_refusion

        result["refusion"] = bench_refusion(console)
    if "vlm" in wanted:
        from s3d_ros.offline.bench_vlm import bench_vlm

        result["vlm"] = bench_vlm(console)
    if "train" in wanted:
        from s3d_ros.offline.bench_train import bench_train

        result["train"] = bench_train(console, options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "bench.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(f"figures: {path}")
    return all(part.get("holds", True) for part in result.values())


def _long_run(
    part: str, listed: Path | None, names: Sequence[str] | None, noise: str, console: Console
) -> dict[str, Any]:
    """Run corrections in the named rooms, tour in the first named flat (or room), hour in the first room."""
    from s3d_ros.offline.long_runs import corrections, hour, tour_back
    from s3d_ros.offline.suite import places_of

    places: list[list[Path | str]] = [[_HOME]]
    if listed is not None:
        places = [list(p.layouts) for p in places_of(listed) if names is None or p.name in names]
    rooms = [p for p in places if len(p) == 1] or places
    largest = max(places, key=len)
    figures = {
        "corrections": lambda: corrections([r[0] for r in rooms], noise, console),
        "tour": lambda: tour_back(largest, noise, console),
        "hour": lambda: hour(rooms[0], noise, console),
    }[part]()
    console.print({k: v for k, v in figures.items() if k not in ("rows", "minutes")})
    return figures


def simulated(frames: int) -> list[Observed]:
    """Render the start of a tour through a packaged home at 30 Hz, 640x480, with given instances."""
    from s3d_ros.offline.simulate.frames import iter_frames
    from s3d_ros.offline.simulate.trajectory import tour
    from s3d_ros.offline.simulate.world import scene_from_layouts

    options = SimulateConfig(fps=_FPS)
    world = scene_from_layouts([_HOME])
    trajectory = tour(world, options.tour, fps=_FPS, seed=0, max_s=frames / _FPS)
    far_m = Config().frames.max_depth_m
    out = []
    for sample in iter_frames(world, trajectory, options):
        depth = sample.frame.depth_m
        out.append((replace(sample.frame, depth_m=np.where(depth <= far_m, depth, 0)), sample.instances))
    return out[:frames]


def speed(frames: int, console: Console) -> dict[str, Any]:
    """Time the whole pipeline beside Open3D's bare integration of the same frames, in turn, several times."""
    with console.status("rendering"):
        observed = simulated(frames)
    pipeline_ms, bare_ms, same_ms = [], [], []
    with console.status("mapping"):
        for _ in range(_REPEATS):
            bare_ms.append(np.mean(bare_integration_ms(observed, 16, integers=False)))
            pipeline_ms.append(np.mean(pipeline_times_ms(observed)))
            same_ms.append(np.mean(bare_integration_ms(observed, 8, integers=True)))
        long = pipeline_times_ms(observed, laps=10)
    tenth = len(long) // 10
    ratio = float(np.median(np.array(pipeline_ms) / bare_ms))
    growth = float(np.mean(long[-tenth:]) / np.mean(long[:tenth]))
    table = Table("per 640x480 frame, given instances, 2 cm voxels", "median of runs", "limit")
    table.add_row("Open3D integrate, its default blocks (16) and floats", f"{np.median(bare_ms):.1f} ms", "")
    table.add_row("Open3D integrate, our blocks (8) and integers", f"{np.median(same_ms):.1f} ms", "")
    table.add_row("whole pipeline", f"{np.median(pipeline_ms):.1f} ms", "")
    table.add_row("whole pipeline / default integrate", f"{ratio:.2f}", f"{_LIMIT_PIPELINE}")
    table.add_row("last tenth / first tenth, ten laps", f"{growth:.2f}", f"{_LIMIT_TENTH}")
    console.print(table)
    return {
        "frames": len(observed),
        "bare_ms": float(np.median(bare_ms)),
        "bare_own_settings_ms": float(np.median(same_ms)),
        "pipeline_ms": float(np.median(pipeline_ms)),
        "ratio": ratio,
        "last_to_first_tenth": growth,
        "holds": ratio <= _LIMIT_PIPELINE and growth <= _LIMIT_TENTH,
    }


def pipeline_times_ms(observed: Sequence[Observed], laps: int = 1) -> list[float]:
    """Return how long each frame took in the whole pipeline; laps go there and back, so that poses stay continuous."""
    pipeline = Pipeline(Config())
    step_ns = round(1e9 / _FPS)
    times = []
    for lap in range(laps):
        for k, (frame, instances) in enumerate(observed if lap % 2 == 0 else observed[::-1]):
            stamp_ns = (lap * len(observed) + k + 1) * step_ns
            now = replace(frame, stamp_ns=stamp_ns), replace(instances, stamp_ns=stamp_ns)
            start = time.perf_counter()
            pipeline.process(*now)
            times.append((time.perf_counter() - start) * 1e3)
    return times


def bare_integration_ms(observed: Sequence[Observed], block_voxels: int, integers: bool) -> list[float]:
    """Return how long Open3D alone took to integrate each frame: block look-up and integration, nothing else."""
    single = o3c.float32
    sizes = (o3c.SizeVector((1,)), o3c.SizeVector((1,)), o3c.SizeVector((3,)))
    voxel_m = Config().fusion.voxel_size_m
    grid = o3d.t.geometry.VoxelBlockGrid(
        ("tsdf", "weight", "color"), (single,) * 3, sizes, voxel_m, block_voxels, 20000, o3c.Device("CPU:0")
    )
    times = []
    for frame, _ in observed:
        if integers:
            depth = o3d.t.geometry.Image(o3c.Tensor((frame.depth_m * 1000).astype(np.uint16)))
            color = o3d.t.geometry.Image(o3c.Tensor(frame.color))
            scale = 1000.0
        else:
            depth = o3d.t.geometry.Image(o3c.Tensor(frame.depth_m))
            color = o3d.t.geometry.Image(o3c.Tensor(frame.color.astype(np.float32) / 255))
            scale = 1.0
        K, T = o3c.Tensor(frame.intrinsics.matrix()), o3c.Tensor(invert(frame.T_map_camera))
        start = time.perf_counter()
        blocks = grid.compute_unique_block_coordinates(depth, K, T, scale, 6.0, 3.0)
        grid.integrate(blocks, depth, color, K, T, scale, 6.0, 3.0)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def foretold(path: Path, console: Console) -> dict[str, Any]:
    """Map a recording without every tenth frame, and compare these with the surface; beside plain fusion."""
    from s3d_ros.fusion import Fusion
    from s3d_ros.offline.heldout import held_out_agreement
    from s3d_ros.offline.recording import every_nth, open_recording

    config = Config()
    recording = open_recording(path, config.frames)
    if not recording.z_up:
        config = config.with_values({"map.up": "auto"})
    pipeline, plain = Pipeline(config), Fusion(replace(config.fusion, min_weight=3.0, block_period_s=0.0))
    with console.status(f"mapping {recording.name}"):
        for arrival in every_nth(recording, 10, held_out=True):
            pipeline.process(arrival.frame, None, arrival.is_new)
            plain.integrate(arrival.frame)
        held_out = [a.frame for a in every_nth(open_recording(path, config.frames), 10)]
        ours = held_out_agreement(pipeline.fusion, held_out)
        theirs = held_out_agreement(plain, held_out)
    table = Table(f"{recording.name}, every tenth frame held out", "ours", "plain fusion")
    for name in ours:
        table.add_row(name, f"{ours[name]:.3f}", f"{theirs[name]:.3f}")
    console.print(table)
    return {"ours": ours, "plain": theirs}
