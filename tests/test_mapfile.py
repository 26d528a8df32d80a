"""A map on the disk: it comes back as it was, is refused by name when damaged, and outlives its writer."""

import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import SMALL, BoxWorld, circle, room

from s3d_ros.config import Config
from s3d_ros.keys import ConfigError
from s3d_ros.mapfile import MapFileError, newest_map, read_map, write_map
from s3d_ros.pipeline import Pipeline
from s3d_ros.types import PosePath

THINGS = {
    "chair1": ((1.0, 1.2, 0.0), (1.5, 1.7, 0.9)),
    "chair2": ((2.6, 2.4, 0.0), (3.1, 2.9, 0.9)),
    "table3": ((1.4, 2.2, 0.0), (2.2, 3.0, 0.7)),
}
CONFIG = Config().with_values({"fusion.voxel_size_m": 0.05, "objects.confirm_pixels": 50, "objects.stride": 2})


@pytest.fixture(scope="module")
def frames():
    """Two rounds of a room, 10 frames a second."""
    world = BoxWorld(room(**THINGS))
    return [world.frame(T, k, SMALL) for k, T in enumerate([*circle(30), *circle(30, 1.5, 1.3)])]


@pytest.fixture(scope="module")
def half(frames) -> Pipeline:
    pipeline = Pipeline(CONFIG)
    for frame, instances in frames[:30]:
        pipeline.process(frame, instances)
    pipeline.finish(frames[29][0])
    pipeline.objects.tracks.merged[17] = 1  # an ID that was given up, for ever
    return pipeline


@pytest.fixture(scope="module")
def saved(half, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("map")
    write_map(directory, half.state())
    return directory


def equal(a, b, where="state"):
    """Whether two states hold the same, naming where not."""
    if isinstance(a, dict):
        assert isinstance(b, dict) and {str(k) for k in a} == {str(k) for k in b}, where
        for key in a:
            equal(a[key], b[key] if key in b else b[str(key)], f"{where}.{key}")
    elif isinstance(a, list):
        assert isinstance(b, list) and len(a) == len(b), where
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            equal(x, y, f"{where}.{k}")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, where
        np.testing.assert_array_equal(a, b, err_msg=where)
    else:
        assert a == b and type(a) is type(b), f"{where}: {a!r}, {b!r}"


def test_what_is_read_is_what_was_written(half, saved):
    written = half.state()
    picture = written.pop("picture")
    equal(written, read_map(saved))
    folder = newest_map(saved)
    assert folder == saved / "map-000001"
    assert (cv2.imread(str(folder / "bev.png"))[..., ::-1] == picture).all()
    done = subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_people_can_read_it(half, saved):
    folder = newest_map(saved)
    about = json.loads((folder / "map.json").read_text())
    assert (about["format"], about["version"], about["config"]["map.frame_id"]) == ("s3d_ros map", 1, "map")
    assert about["counts"]["objects"] == 3 and about["counts"]["views"] == len(list((folder / "views").iterdir()))
    things = json.loads((folder / "objects.json").read_text())
    assert [17, 1] in things["merged"] and things["next_id"] == 4
    by_id = sorted(things["objects"], key=lambda thing: thing["id"])
    for thing, made in zip(by_id, half.objects.snapshot(), strict=True):
        assert (thing["id"], thing["label"], thing["state"]) == (made.id, made.label, "CONFIRMED")
        np.testing.assert_array_equal(thing["box"]["center"], made.box.center)


def test_every_key_and_file_is_described(saved):
    text = (Path(__file__).resolve().parents[1] / "docs" / "map_directory.md").read_text()
    folder = newest_map(saved)
    for path in folder.rglob("*.*"):
        name = "0007.jpg" if path.suffix == ".jpg" else path.name.replace("views.npz", "views.json/.npz")
        assert name.replace("surface.npz", "surface.json/.npz").split(".")[0] in text, path
    free = {*"chair table center size axes width height fx fy cx cy npz".split(), *(key for key, _, _ in CONFIG.flat())}
    keys = {k for p in folder.glob("*.json") for k in keys_of(json.loads(p.read_text()))} - free
    due = set(json.loads((folder / "map.json").read_text())["due_ns"])
    assert len(keys) > 40 and not {k for k in keys - due if not re.search(rf"[`.]{k}`", text)}


def keys_of(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {k for v in value.values() for k in keys_of(v)}
    return {k for v in value for k in keys_of(v)} if isinstance(value, list) else set()


def test_nothing_in_it_is_a_pickle(saved):
    for path in newest_map(saved).rglob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert all(not values.dtype.hasobject for values in arrays.values())


def test_mapping_goes_on_with_the_same_ids(half, saved, frames):
    loaded = Pipeline(CONFIG)
    loaded.restore(read_map(saved))
    assert loaded.scene().find(17).id == 1
    unbroken = Pipeline(CONFIG)
    for frame, instances in frames[:30]:
        unbroken.process(frame, instances)
    seen = 0
    for frame, instances in frames[30:]:
        ids = loaded.process(frame, instances).instance_ids
        assert ids == unbroken.process(frame, instances).instance_ids
        seen += len(ids)
    assert seen > 50 and {o.id for o in loaded.scene().objects} == {1, 2, 3}


def test_poses_can_be_corrected_after_loading_without_losing_what_was_mapped_before(half, saved, frames):
    """The robot is set down 30 cm from where it believes to be; later it learns so, and the map is made anew."""
    loaded = Pipeline(CONFIG)
    loaded.restore(read_map(saved))
    assert len(list(loaded.past.anchors)) == len(list(half.past.anchors)) > 5
    for mine, theirs in zip(loaded.past.anchors, half.past.anchors, strict=True):
        assert (mine.color, mine.depth, mine.instances, mine.ids) == (
            theirs.color, theirs.depth, theirs.instances, theirs.ids
        )  # fmt: skip
    before = {o.id: o.box.center for o in loaded.scene().objects}
    jump = np.eye(4)
    jump[0, 3] = 0.3
    for frame, instances in frames[30:45]:
        loaded.process(dataclasses.replace(frame, T_map_camera=jump @ frame.T_map_camera), instances)
    known = [frame for frame, _ in frames[:45]]
    loaded.correct(PosePath(np.array([f.stamp_ns for f in known]), np.stack([f.T_map_camera for f in known])))
    remaking, refusion, anchors = loaded.refusion()
    assert min(a.stamp_ns for a in anchors) < frames[30][0].stamp_ns, "those from before are seen again as well"
    refusion.see(anchors)
    loaded.replace_by(refusion, remaking)
    for frame, instances in frames[45:]:
        loaded.process(frame, instances)
    after = {o.id: o.box.center for o in loaded.finish(frames[-1][0]).objects}
    assert after.keys() == before.keys()
    for number, center in after.items():
        np.testing.assert_allclose(center, before[number], atol=0.08)


def test_a_second_save_replaces_the_first(half, tmp_path):
    write_map(tmp_path / "deep" / "map", half.state())
    made = write_map(tmp_path / "deep" / "map", half.state())
    assert made.name == "map-000002"
    assert sorted(p.name for p in made.parent.iterdir()) == [".lock", "map-000002"]


def test_an_empty_map_can_be_saved(tmp_path, frames):
    write_map(tmp_path, Pipeline(CONFIG).state())
    loaded = Pipeline(CONFIG)
    loaded.restore(read_map(tmp_path))
    loaded.process(*frames[0])
    assert loaded.scene().objects == ()


FILES = [
    "map.json",
    "objects.json",
    "objects.npz",
    "surface.npz",
    "views.npz",
    "seen.png",
    "views/0001.jpg",
    "SHA256SUMS",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["cut", "flipped", "gone", "empty"])
def test_a_damaged_map_is_refused_by_name(saved, tmp_path, name: str, harm: str):
    shutil.copytree(saved, tmp_path / "map")
    path = newest_map(tmp_path / "map") / name
    data = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        at = random.Random(name).randrange(len(data))
        data[at] ^= 1 << (at % 8)
        path.write_bytes(data)
    with pytest.raises(MapFileError, match="damaged: restore it from a copy") as error:
        read_map(tmp_path / "map")
    assert str(newest_map(tmp_path / "map")) in str(error.value)
    if name != "SHA256SUMS":
        assert str(path) in str(error.value)


def test_maps_that_dont_fit_are_refused_and_the_present_one_stays(saved, frames):
    for key, value in (("fusion.voxel_size_m", 0.04), ("map.frame_id", "odom"), ("bev.resolution_m", 0.05)):
        pipeline = Pipeline(CONFIG.with_values({key: value}))
        for frame, instances in frames[:8]:
            pipeline.process(frame, instances)
        blocks, things = len(pipeline.fusion), pipeline.objects.snapshot()
        with pytest.raises(ConfigError, match=f"{key} = .*set to {value!r} now"):
            pipeline.restore(read_map(saved))
        assert len(pipeline.fusion) == blocks > 0 and pipeline.objects.snapshot() == things
    with pytest.raises(ConfigError, match=r'up is 0,0,1, but map.up is set to "0,-1,0"|up is 0,0,1'):
        Pipeline(CONFIG.with_values({"map.up": "0,-1,0"})).restore(read_map(saved))


def test_a_map_of_another_version_is_refused(half, tmp_path, monkeypatch):
    monkeypatch.setattr("s3d_ros.mapfile.VERSION", 2)
    write_map(tmp_path, half.state())
    monkeypatch.undo()
    with pytest.raises(MapFileError, match=r"map\.json is of format 's3d_ros map', version 2.*reads .* version 1"):
        read_map(tmp_path)


def test_a_folder_of_other_things_is_left_alone(half, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(MapFileError, match=r"thesis\.tex"):
        write_map(tmp_path, half.state())
    with pytest.raises(MapFileError, match="is a file"):
        write_map(tmp_path / "thesis.tex", half.state())
    with pytest.raises(MapFileError, match="holds no map"):
        read_map(tmp_path)
    with pytest.raises(MapFileError, match="holds no map"):
        read_map(tmp_path / "nowhere")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_full_disk_leaves_the_last_map(half, tmp_path, monkeypatch):
    write_map(tmp_path, half.state())

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("s3d_ros.mapfile.os.fsync", full)
    with pytest.raises(MapFileError, match="no space left"):
        write_map(tmp_path, half.state())
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "map-000001"]
    read_map(tmp_path)


_SAVER = """
import sys
from s3d_ros.geometry import invert
from s3d_ros.mapfile import read_map, write_map
state = read_map(sys.argv[1])
while True:
    print(write_map(sys.argv[2], state).name, flush=True)
"""


def test_killed_at_any_moment_the_last_complete_map_loads(half, saved, frames, tmp_path):
    """A process saves again and again and is killed twenty times, with SIGKILL; mapping goes on with the same IDs."""
    chance = random.Random(5)
    reached = 0
    left_over = 0
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", _SAVER, saved, tmp_path], stdout=subprocess.PIPE, text=True
        ) as saver:
            assert saver.stdout is not None
            reached = int(saver.stdout.readline().split("-")[1])  # one is complete; it goes on at once
            time.sleep(chance.uniform(0, 0.12))
            os.kill(saver.pid, signal.SIGKILL)
            done = [reached, *(int(line.split("-")[1]) for line in saver.stdout.read().split())]
        left_over += any(path.name.startswith(".") and path.name != ".lock" for path in tmp_path.iterdir())
        state = read_map(tmp_path)
        newest = int(newest_map(tmp_path).name.split("-")[1])
        assert newest in (done[-1], done[-1] + 1), "the last that was told of, or one that was not told of any more"
        equal({k: v for k, v in half.state().items() if k != "picture"}, state)
    assert left_over >= 3, "it was really killed while it wrote"
    loaded, unbroken = Pipeline(CONFIG), Pipeline(CONFIG)
    loaded.restore(state)
    for frame, instances in frames[:30]:
        unbroken.process(frame, instances)
    same = [
        loaded.process(frame, instances).instance_ids == unbroken.process(frame, instances).instance_ids
        for frame, instances in frames[30:]
    ]
    assert all(same), "at least 98 % is asked for"
    write_map(tmp_path, loaded.state())
    assert len(list(tmp_path.iterdir())) == 2, "what was left over is gone: the map and .lock stay"
