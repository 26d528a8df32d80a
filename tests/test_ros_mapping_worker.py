"""The thread between callbacks and pipeline: late frames are dropped and counted, faults never end it."""

import dataclasses
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic import FULL, BoxWorld, look_at, room

from s3d_ros.config import FramesConfig, SegmentConfig
from s3d_ros.frames import FrameAssembler
from s3d_ros.messages import Role
from s3d_ros.pipeline import FrameResult
from s3d_ros.ros import conversions, mapping_worker, pictures
from s3d_ros.ros.mapping_worker import MappingWorker
from s3d_ros.ros.segment_process import SegmentProcess
from s3d_ros.ros.status import Status
from s3d_ros.timing import StageTimes
from s3d_ros.types import Frame, Instances, Intrinsics, Scene

K = Intrinsics(8, 6, 5.0, 5.0, 3.5, 2.5)
UP = np.array([0.0, 0.0, 1.0])


class FakePipeline:
    """Remembers what it was given; blocks, or fails, when told to."""

    def __init__(self) -> None:
        self.up, self.times, self.fusion, self.past = UP, StageTimes(), [], None
        self.seen: list[tuple[int, bool, Instances | None]] = []
        self.go = threading.Event()
        self.go.set()
        self.fail_at: set[int] = set()
        self.resets = self.finished = 0
        self.hasty: list[int] = []

    def reset(self) -> None:
        self.resets += 1

    def process(
        self, frame: Frame, instances: Instances | None = None, is_new: bool = True, in_haste: bool = False
    ) -> FrameResult:
        assert self.go.wait(10)
        self.hasty += [frame.index] if in_haste else []
        if frame.index in self.fail_at:
            raise RuntimeError(f"frame {frame.index} is broken")
        self.seen.append((frame.index, is_new, instances))
        return FrameResult(frame.index, frame.stamp_ns, {})

    def sizes_bytes(self) -> dict[str, int]:
        return {"fusion": 3_000_000}

    def scene(self) -> Scene:
        return Scene(3 + self.finished, 0, "map", UP)

    def finish(self, frame: Frame) -> Scene:
        self.finished += 1
        return self.scene()


class FakeSegmenter:
    """Gives back one instance for every frame it was offered."""

    def __init__(self) -> None:
        self.offered: list[Frame] = []
        self._ready: list[Frame] = []

    def offer(self, frame: Frame, up: np.ndarray) -> None:
        self.offered.append(frame)
        self._ready.append(frame)

    def clear(self) -> None:
        self._ready.clear()

    def take(self) -> tuple[Frame, Instances] | None:
        if not self._ready:
            return None
        frame = self._ready.pop()
        return frame, Instances(frame.stamp_ns, np.ones(frame.depth_m.shape, np.uint16), (1,), ("",), (1.0,))


def make_worker(
    on_result: Callable[[FrameResult], None] = lambda result: None, **options
) -> tuple[MappingWorker, FakePipeline, list]:
    pipeline, faults = FakePipeline(), []
    worker = MappingWorker(
        FrameAssembler(FramesConfig(), map_frame="map"),
        pipeline,
        lambda frame, result, is_new: on_result(result),
        on_fault=faults.append,
        **options,
    )
    worker.start()
    return worker, pipeline, faults


def feed(worker: MappingWorker, index: int, *, depth: bool = True) -> None:
    """Feed all messages of one frame, 100 ms after the last."""
    header = conversions.header_msg((index + 1) * 100_000_000, "camera")
    pose = SimpleNamespace(header=conversions.header_msg((index + 1) * 100_000_000, "map"))
    pose.pose = conversions.pose_msg(np.eye(4))
    worker.feed(Role.POSE, pose)
    worker.feed(Role.CAMERA_INFO, pictures.camera_info_msg(K, header))
    worker.feed(Role.COLOR, pictures.image_msg(np.zeros((6, 8, 3), np.uint8), header))
    if depth:
        worker.feed(Role.DEPTH, pictures.image_msg(np.full((6, 8), 1000, np.uint16), header, "16UC1"))


def feed_while_busy(worker: MappingWorker, pipeline: FakePipeline, frames: int) -> None:
    """Feed so many, all but the first while the pipeline is at that one; then let it go on."""
    pipeline.go.clear()
    feed(worker, 0)
    wait_for(lambda: worker.assembler.received["depth"] == 1)
    for k in range(1, frames):
        feed(worker, k)
    pipeline.go.set()


def wait_for(condition: Callable[[], bool], what: str = "what was expected") -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.005)


def test_every_frame_is_mapped_when_there_is_time() -> None:
    worker, pipeline, faults = make_worker()
    for k in range(10):
        feed(worker, k)
        wait_for(lambda k=k: len(pipeline.seen) == k + 1)
    worker.close()
    assert [index for index, _, _ in pipeline.seen] == list(range(10))
    assert worker.counts["fused"] == 10 and not worker.counts["late"] and not faults
    assert not pipeline.hasty and not worker.counts["in_haste"]


def test_of_frames_that_wait_each_third_is_fused_and_the_last() -> None:
    worker, pipeline, _ = make_worker(max_late_frames=20)
    feed_while_busy(worker, pipeline, 9)
    wait_for(lambda: len(pipeline.seen) == 9)
    worker.close()
    assert pipeline.hasty == [1, 2, 4, 5, 7]  # when 0 began nothing waited, after 8 nothing does
    assert worker.counts["in_haste"] == 5 and worker.counts["fused"] == 9


def test_late_frames_are_dropped_oldest_first_and_counted() -> None:
    worker, pipeline, _ = make_worker(max_late_frames=3)
    feed_while_busy(worker, pipeline, 21)
    wait_for(lambda: len(pipeline.seen) == 4)
    worker.close()
    assert [index for index, _, _ in pipeline.seen] == [0, 18, 19, 20]
    assert worker.counts["late"] == 17 and worker.counts["fused"] == 4


def test_images_that_come_too_fast_are_counted_not_stored(monkeypatch) -> None:
    monkeypatch.setattr(mapping_worker, "MAX_IMAGES", 10)
    worker, pipeline, _ = make_worker()
    pipeline.go.clear()
    feed(worker, 0)
    wait_for(lambda: worker.assembler.received["depth"] == 1)
    for k in range(1, 31):
        feed(worker, k)
    assert worker.counts["overrun"] == 60 - 10
    pipeline.go.set()
    worker.close()


def test_a_fault_costs_one_frame() -> None:
    worker, pipeline, faults = make_worker()
    pipeline.fail_at = {1}
    for k in range(3):
        feed(worker, k)
        wait_for(lambda k=k: len(pipeline.seen) + len(faults) == k + 1)
    worker.close()
    assert [index for index, _, _ in pipeline.seen] == [0, 2]
    assert str(faults[0]) == "frame 1 is broken" and worker.counts["failed"] == 1


def test_instances_that_come_later_belong_to_their_frame() -> None:
    worker, pipeline, _ = make_worker(segmenter=FakeSegmenter(), instances_timeout_s=None)
    feed(worker, 0)
    wait_for(lambda: len(pipeline.seen) == 2)
    worker.close()
    assert [(index, is_new) for index, is_new, _ in pipeline.seen] == [(0, True), (0, False)]
    assert pipeline.seen[1][2].numbers == (1,) and worker.counts["fused"] == worker.counts["segmented"] == 1


def test_depth_is_segmented_only_while_nobody_gives_instances() -> None:
    segmenter = FakeSegmenter()
    worker, pipeline, _ = make_worker(segmenter=segmenter, instances_timeout_s=0.3)
    feed(worker, 0)
    wait_for(lambda: len(pipeline.seen) == 1)
    assert not segmenter.offered, "they may still show themselves"
    time.sleep(0.4)
    feed(worker, 1)
    wait_for(lambda: len(pipeline.seen) == 3)
    header = conversions.header_msg(200_000_000, "camera")
    given = SimpleNamespace(header=header, numbers=[], labels=[], scores=[])
    given.image = pictures.image_msg(np.ones((6, 8), np.uint16), header, "mono16")
    worker.feed(Role.INSTANCES, given)
    feed(worker, 2)
    wait_for(lambda: any(index == 2 for index, _, _ in pipeline.seen))
    worker.close()
    assert [f.index for f in segmenter.offered] == [1]


def test_depth_is_segmented_at_once_where_there_is_no_detector() -> None:
    segmenter = FakeSegmenter()
    worker, pipeline, _ = make_worker(segmenter=segmenter, instances_timeout_s=100.0, has_detector=lambda: False)
    feed(worker, 0)
    wait_for(lambda: len(pipeline.seen) == 2)
    worker.close()
    assert len(segmenter.offered) == 1


def test_when_the_camera_pauses_the_map_is_brought_up_to_date_once(monkeypatch) -> None:
    monkeypatch.setattr(mapping_worker, "SETTLE_S", 0.1)
    results: list[FrameResult] = []
    worker, pipeline, _ = make_worker(on_result=results.append)
    feed(worker, 0)
    wait_for(lambda: pipeline.finished == 1)
    time.sleep(0.3)
    assert pipeline.finished == 1 and results[-1].scene.map_version == 4
    feed(worker, 1)
    wait_for(lambda: pipeline.finished == 2)
    worker.close()


def test_a_reset_happens_between_frames_and_late_instances_of_before_are_left_out() -> None:
    segmenter = FakeSegmenter()
    held: list[tuple[Frame, Instances]] = []
    real_take = segmenter.take
    segmenter.take = lambda: held.pop() if held else None
    worker, pipeline, _ = make_worker(segmenter=segmenter, instances_timeout_s=None)
    feed(worker, 0)
    wait_for(lambda: len(segmenter.offered) == 1)
    in_work = real_take()
    done = threading.Event()
    worker.reset(done.set)
    assert done.wait(2) and pipeline.resets == 1
    held.append(in_work)
    wait_for(lambda: worker.counts["segmented"] == 1)
    feed(worker, 1)
    wait_for(lambda: len(pipeline.seen) == 2)
    worker.close()
    assert [(index, is_new) for index, is_new, _ in pipeline.seen] == [(0, True), (1, True)]


def test_the_status_says_what_is_missing_and_warns_once(monkeypatch) -> None:
    monkeypatch.setattr("s3d_ros.ros.status.GRACE_S", 0.0)
    worker, pipeline, _ = make_worker()
    status = Status(worker, {Role.DEPTH: "/cam/depth"}, lambda role: role is Role.COLOR)
    _, warnings = status.report()
    assert "nothing on /cam/depth (nobody publishes it)" in warnings[0] and "no poses, neither on" in warnings[0]
    assert "nothing on color;" in warnings[0] and not status.is_ok
    for k in range(5):
        feed(worker, k, depth=k != 1)
        time.sleep(0.02)
    wait_for(lambda: len(pipeline.seen) == 4)
    values, warnings = status.report()
    assert (values["frames_fused"], values["dropped/depth_missing"], values["received/color"]) == ("4", "1", "5")
    assert [w for w in warnings if w.startswith("1 x depth_missing: there was no depth image")]
    assert status.report()[1] == [], "nothing new, nothing said"
    assert float(values["memory/resident_mb"]) > 10 and values["map/version"] == "3"
    worker.close()


@pytest.fixture(scope="module")
def crate() -> Frame:
    """A crate on the floor of a room."""
    world = BoxWorld(room(crate1=((1.7, 1.7, 0.0), (2.3, 2.3, 0.6))))
    return world.frame(look_at((0.6, 0.6, 1.3), (2.0, 2.0, 0.3)), k=FULL)[0]


def at(frame: Frame, seconds: float) -> Frame:
    return dataclasses.replace(frame, stamp_ns=int(seconds * 1e9))


def test_depth_is_segmented_in_a_process_of_its_own(crate: Frame) -> None:
    """The real one: started, used, killed and started again."""
    faults: list[str] = []
    process = SegmentProcess(SegmentConfig(period_s=0.2), faults.append)
    try:
        start = time.monotonic()
        for k in range(20):
            process.offer(at(crate, k * 0.1), UP)  # every second one is due, and three of them wait
        assert time.monotonic() - start < 0.5, "the process is not waited for"
        found = [_taken(process) for _ in range(3)]
        assert [round(frame.stamp_ns / 1e9, 1) for frame, _ in found] == [1.4, 1.6, 1.8]
        instances = found[0][1]
        assert instances.image.shape == crate.depth_m.shape and len(instances.numbers) >= 1
        assert process._process is not None
        process._process.kill()
        process._process.wait()
        process._started_at = -100.0
        process.offer(at(crate, 3.0), UP)
        wait_for(lambda: process.take() is None and faults, "the loss")
        assert "started again" in faults[0]
        process.offer(at(crate, 4.0), UP)
        assert len(_taken(process)[1].numbers) == len(instances.numbers)
        child = process._process
    finally:
        process.close()
    assert child.poll() is not None, "it ends with its owner"


def _taken(process: SegmentProcess) -> tuple[Frame, Instances]:
    deadline = time.monotonic() + 20
    while (found := process.take()) is None:
        assert time.monotonic() < deadline, "nothing came back"
        time.sleep(0.01)
    return found
