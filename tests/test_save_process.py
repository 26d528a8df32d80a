"""Saving beside mapping: in steps, one map after the other, and told when the process comes to grief."""

import os
import signal
import time
from pathlib import Path

import pytest
from synthetic import SMALL, BoxWorld, circle, room

from s3d_ros.config import Config
from s3d_ros.mapfile import newest_map, read_map
from s3d_ros.pipeline import Pipeline
from s3d_ros.ros.save_process import SaveProcess

CONFIG = Config().with_values({"fusion.voxel_size_m": 0.05, "objects.confirm_pixels": 50, "objects.stride": 2})


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    made = Pipeline(CONFIG)
    world = BoxWorld(room(crate1=((1.6, 1.6, 0.0), (2.4, 2.4, 0.8))))
    for k, T in enumerate(circle(20)):
        made.process(*world.frame(T, k, SMALL))
    return made


class Said(list):
    def __call__(self, success: bool, text: str) -> None:
        self.append((success, text))


def step_until(saver: SaveProcess, said: Said, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(said) < count:
        assert time.monotonic() < deadline, "no answer"
        saver.step()
        time.sleep(0.001)


def test_maps_are_saved_one_after_the_other(pipeline: Pipeline, tmp_path: Path) -> None:
    saver, said = SaveProcess(pipeline), Said()
    for name in ("a", "b", "a"):
        saver.save(tmp_path / name, said)
    assert not said and not list(tmp_path.iterdir()), "nothing is done before a step"
    step_until(saver, said, 3)
    assert [ok for ok, _ in said] == [True] * 3 and not saver.is_busy
    assert [newest_map(tmp_path / n).name for n in "ab"] == ["map-000002", "map-000001"]
    assert "1 objects" in said[0][1] and f"{tmp_path / 'a'}" in said[0][1]
    assert read_map(tmp_path / "a")["stamp_ns"] == 19 * 100_000_000
    saver.close(1.0)


def test_a_place_that_is_none_is_refused_at_once(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    saver, said = SaveProcess(pipeline), Said()
    saver.save(tmp_path, said)
    assert said[0][0] is False and "letters.txt" in said[0][1] and not saver.is_busy


def test_a_killed_process_is_told_and_the_last_map_stays(pipeline: Pipeline, tmp_path: Path) -> None:
    saver, said = SaveProcess(pipeline), Said()
    saver.save(tmp_path, said)
    step_until(saver, said, 1)
    for copied in (False, True):
        count = len(said)
        saver.save(tmp_path, said)
        saver.step()
        while copied and saver.is_copying:
            saver.step()
        os.kill(saver._process.pid, signal.SIGKILL)
        step_until(saver, said, count + 1)
        assert said[-1][0] is False and "the last map stays" in said[-1][1]
        read_map(tmp_path)
    saver.save(tmp_path, said)
    step_until(saver, said, 4)
    assert said[-1][0] is True


def test_another_map_in_its_place_does_not_spoil_the_copy(pipeline: Pipeline, tmp_path: Path) -> None:
    live = Pipeline(CONFIG)
    live.restore(pipeline.state())
    saver, said = SaveProcess(live), Said()
    saver.save(tmp_path, said)
    saver.step()
    saver.finish_copy()
    live.reset()
    step_until(saver, said, 1)
    assert "1 objects" in said[0][1]


def test_at_the_end_what_was_asked_for_is_done(pipeline: Pipeline, tmp_path: Path) -> None:
    saver, said = SaveProcess(pipeline), Said()
    saver.save(tmp_path / "a", said)
    saver.save(tmp_path / "b", said)
    saver.close(30.0)
    assert [ok for ok, _ in said] == [True, True] and newest_map(tmp_path / "b") is not None
    saver.save(tmp_path / "a", said)
    saver.step()
    saver.close(0.0)
    assert said[-1][0] is False and "ended before" in said[-1][1]
