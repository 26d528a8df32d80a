"""A run holds its scene whole: what is loaded is what was written, to the last bit."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answer_scene import kitchen_like
from scipy.spatial.transform import Rotation
from small_run import small_scene, write_small_run

from s3d_ros.offline.run import RunError, load_scene
from s3d_ros.prompt.build import Prompter
from s3d_ros.types import Bev, Question, Scene


def difference(a: Any, b: Any, where: str = "scene") -> str:
    """Return where two values differ, "" where they are the same."""
    if dataclasses.is_dataclass(a):
        fields = dataclasses.fields(a)
        return next(
            (d for f in fields if (d := difference(getattr(a, f.name), getattr(b, f.name), f"{where}.{f.name}"))), ""
        )
    if isinstance(a, np.ndarray):
        same = a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        return "" if same else f"{where}: {a!r} != {b!r}"
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return next(
            (d for k, (x, y) in enumerate(zip(a, b, strict=True)) if (d := difference(x, y, f"{where}[{k}]"))), ""
        )
    return "" if a == b or a is b or (a != a and b != b) else f"{where}: {a!r} != {b!r}"


def crooked(scene: Scene) -> Scene:
    """Return the scene in numbers that don't end: turned, with thirds, holes in the BEV, markers between pixels."""
    rng = np.random.default_rng(4)
    base = small_scene()
    shape = (37, 53)
    bev = Bev(
        color=rng.integers(0, 255, (*shape, 3), dtype=np.uint8),
        height_m=np.where(rng.random(shape) < 0.3, np.nan, rng.random(shape)).astype(np.float32),
        occupancy=rng.choice(np.array([-1, 0, 100], np.int8), shape),
        resolution_m=1 / 30,
        origin_xy=(-1 / 3, 2 / 7),
        T_bev_map=np.eye(4) + rng.random((4, 4)) / 3,
        floor_m=1 / 9,
        ceiling_cut_m=float("inf"),
    )
    view = base.views[0]
    markers = tuple(replace(m, u=m.u + 1 / 3, v=m.v + 1 / 7) for m in view.markers)
    views = (
        replace(view, id=7, revision=12, markers=markers, T_map_camera=view.T_map_camera + 1 / 3, stamp_ns=10**15 + 7),
        replace(view, id=9, revision=0),
    )
    objects = tuple(replace(o, first_seen_ns=o.first_seen_ns + 10**15 + 1) for o in scene.objects)
    return replace(scene, bev=bev, views=views, objects=objects, floor_area_m2=20 / 3)


@pytest.mark.parametrize(
    "scene",
    [
        small_scene(),
        crooked(kitchen_like(Rotation.from_euler("xyz", [100, 20, 7], degrees=True).as_matrix(), (1 / 3, 2 / 3, 0.1))),
        replace(small_scene(), floor_area_m2=float("nan"), T_map_robot=None, bev=None, views=(), robot_is_camera=False),
    ],
    ids=["small", "crooked", "empty"],
)
def test_scene_comes_back_as_it_was(scene: Scene, tmp_path: Path):
    write_small_run(tmp_path / "run", scene)
    assert difference(scene, load_scene(tmp_path / "run")) == ""


def test_the_difference_is_seen():
    scene = crooked(kitchen_like())
    assert scene.bev is not None
    moved = replace(scene, views=(replace(scene.views[0], jpeg=b"x"), scene.views[1]))
    assert difference(scene, moved).startswith("scene.views[0].jpeg")
    height_m = scene.bev.height_m.copy()
    height_m[0, 0] = 7
    assert "height_m" in difference(scene, replace(scene, bev=replace(scene.bev, height_m=height_m)))


def test_prompt_of_a_loaded_run_is_that_of_the_live_scene(tmp_path: Path):
    scene = write_small_run(tmp_path / "run")
    question = Question("Which chair is by the table, on my left?")
    live, loaded = (Prompter().build(question, s).chat for s in (scene, load_scene(tmp_path / "run")))
    assert difference(live, loaded) == "" and len(live.images) == 2
    assert all(image.pixels.any() for image in live.images)


def test_runs_of_before_are_read_without_pictures(tmp_path: Path):
    scene = write_small_run(tmp_path / "run")
    (tmp_path / "run" / "bev.npz").unlink()
    views = json.loads((tmp_path / "run" / "views.json").read_text())
    for view in views:
        del view["picture"], view["revision"]
    (tmp_path / "run" / "views.json").write_text(json.dumps(views))
    assert difference(replace(scene, bev=None, views=()), load_scene(tmp_path / "run")) == ""


def test_what_an_older_run_left_is_gone(tmp_path: Path):
    write_small_run(tmp_path / "run")
    write_small_run(tmp_path / "run", replace(small_scene(), bev=None, views=()))
    scene = load_scene(tmp_path / "run")
    assert scene.bev is None and scene.views == ()
    assert not list((tmp_path / "run" / "views").iterdir())


def test_missing_and_damaged_files_are_named(tmp_path: Path):
    write_small_run(tmp_path / "run")
    picture = next((tmp_path / "run" / "views").iterdir())
    data = picture.read_bytes()
    picture.unlink()
    with pytest.raises(RunError, match=picture.name):
        load_scene(tmp_path / "run")
    picture.write_bytes(data)
    (tmp_path / "run" / "bev.png").write_bytes(b"no picture")
    with pytest.raises(RunError, match=r"bev.png is missing or damaged"):
        load_scene(tmp_path / "run")
    (tmp_path / "run" / "bev.json").unlink()
    assert load_scene(tmp_path / "run").bev is None
