"""The answerer node over real ROS: another process publishes a scene, a third one asks."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ros_live  # first: it keeps ROS on this machine
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from ros_live import NodeProcess, Spinning, wait_for
from ros_scenes import FakeMapper, chair, make_scene

from s3d_ros.action import AskScene as AskSceneAction
from s3d_ros.ros import qos
from s3d_ros.ros.client import SceneClient
from s3d_ros.srv import AskScene
from s3d_ros.types import ErrorCode

ANSWERER = "s3d_ros.ros.answerer"
SLOW = str(Path(__file__).with_name("ros_slow_answerer.py"))
COUNT = "How many chairs are there?"


@pytest.fixture(scope="module")
def answerer() -> Iterator[tuple[NodeProcess, str]]:
    ns = ros_live.namespace()
    with NodeProcess(ANSWERER, ns) as process:
        yield process, ns


@pytest.fixture(scope="module")
def client(answerer: tuple[NodeProcess, str]) -> Iterator[SceneClient]:
    with SceneClient(answerer[1]) as made:
        assert made.wait(ros_live.START_S)
        yield made


@pytest.fixture(scope="module")
def mapper(answerer: tuple[NodeProcess, str], client: SceneClient) -> Iterator[FakeMapper]:
    """Tells first that nobody answers before there is a map."""
    reply = client.ask(COUNT)
    assert reply.answer.error == ErrorCode.NOT_READY and "nothing has arrived from the mapper" in reply.answer.text
    with FakeMapper(answerer[1]) as made:
        wait_for(lambda: "no pose yet" in client.ask(COUNT).answer.text, what="the empty map")
        made.publish(make_scene(1, chair(1, 1.0), chair(2, 3.0)))
        wait_for(lambda: client.ask(COUNT).answer.success, what="the scene")
        yield made


def test_a_question_is_answered_from_the_published_scene(client: SceneClient, mapper: FakeMapper) -> None:
    reply = client.ask(COUNT)
    assert reply.answer.value == 2 and reply.answer.map_version == 1 and reply.answer.answered_by == "geometric"
    assert sorted(reply.answer.objects) == [1, 2]
    assert {o.id: o.box.center[0] for o in reply.objects} == {1: 1.0, 2: 3.0}


def test_a_change_counts_at_once(client: SceneClient, mapper: FakeMapper) -> None:
    two = make_scene(1, chair(1, 1.0), chair(2, 3.0))
    mapper.publish(two, changed=(chair(3, 5.0),), as_version=False)
    wait_for(lambda: client.ask(COUNT).answer.value == 3, 5, "the third chair")
    assert client.ask(COUNT).answer.map_version == 1
    mapper.publish(dataclasses.replace(two, map_version=2))
    wait_for(lambda: client.ask(COUNT).answer.map_version == 2, 5, "the next version")
    assert client.ask(COUNT).answer.value == 2


def test_it_tells_that_it_is_ready_and_who_answers(client: SceneClient, mapper: FakeMapper) -> None:
    told = wait_for(lambda: (d := client.diagnostics("answerer")).get("ready") == "true" and d, 5, "diagnostics")
    assert told["answerer"] == "geometric" and told["message"] == "ready" and told["questions/NOT_READY"]


def test_a_client_sees_the_whole_scene(client: SceneClient, mapper: FakeMapper) -> None:
    scene = wait_for(client.scene)
    assert [v.id for v in scene.views] == [1, 2, 3] and scene.views[0].jpeg == b"jpeg" * 9000
    assert scene.bev.color.shape == (40, 50, 3) and scene.floor_area_m2 == 20.0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"question": " "}, "empty"),
        ({"question": "x" * 5000}, "at most 4000"),
        ({"question": COUNT, "frame_id": "moon"}, "the map frame 'map' only"),
        ({"question": COUNT, "has_situation": True, "situation": PoseStamped()}, None),
        ({"question": COUNT, "deadline": Duration(sec=-3)}, "must be positive"),
    ],
)
def test_a_broken_request_is_told_why(client: SceneClient, mapper: FakeMapper, fields: dict, words: str | None) -> None:
    fields = dict(fields)
    if words is None:
        fields["situation"].pose.orientation.w = 0.0
        words = "the situation is no pose"
    reply = client.ask(fields.pop("question"), **fields)
    assert reply.answer.error == ErrorCode.BAD_QUESTION and words in reply.answer.text


def test_two_hundred_questions_at_once_all_get_a_reply(client: SceneClient, mapper: FakeMapper) -> None:
    futures = [client._ask.call_async(AskScene.Request(question=COUNT)) for _ in range(200)]
    wait_for(lambda: all(f.done() for f in futures), 20, "200 replies")
    codes = [f.result().error_code for f in futures]
    assert set(codes) <= {"", "BUSY"} and codes.count("") >= 32
    assert client.ask(COUNT).answer.success


def test_answers_come_quickly(client: SceneClient, mapper: FakeMapper) -> None:
    """Alone 3 ms, on the busiest machine not 200: nothing sleeps on the way."""
    seconds = [client.ask(COUNT).seconds for _ in range(20)]
    assert np.median(seconds) < 0.2, seconds


def test_a_late_answerer_gets_everything(answerer: tuple[NodeProcess, str], mapper: FakeMapper) -> None:
    ns = ros_live.namespace()
    with FakeMapper(ns) as other:
        for version in range(1, 40):  # more than any queue is deep
            other.publish(make_scene(version, chair(1, 1.0)), changed=(chair(1, 1.0),))
        with NodeProcess(ANSWERER, ns) as late, SceneClient(ns) as asker:
            assert asker.wait(ros_live.START_S)
            reply = wait_for(lambda: (r := asker.ask(COUNT)).answer.success and r, what="the latched scene")
            assert reply.answer.map_version == 39 and reply.answer.value == 1
            assert [v.revision for v in wait_for(asker.scene).views] == [39, 39, 39]
            assert late.stop(signal.SIGTERM) == 0


def test_a_restarted_mapper_is_another_map(client: SceneClient, answerer: tuple[NodeProcess, str]) -> None:
    ns = ros_live.namespace()
    with NodeProcess(ANSWERER, ns), SceneClient(ns) as asker:
        with FakeMapper(ns) as first:
            first.publish(make_scene(50, chair(1, 1.0), chair(2, 2.0)))
            assert asker.wait(ros_live.START_S)
            wait_for(lambda: asker.ask(COUNT).answer.value == 2)
        with FakeMapper(ns) as second:
            second.publish(make_scene(1, chair(1, 4.0)))
            reply = wait_for(lambda: (r := asker.ask(COUNT)).answer.map_version == 1 and r, what="the new map")
            assert reply.answer.value == 1 and reply.objects[0].box.center[0] == 4.0
            assert second.map_id > first.map_id


@pytest.fixture(scope="module")
def slow() -> Iterator[tuple[NodeProcess, str]]:
    """An answerer that takes its time, with a map, and two places in its queue."""
    ns = ros_live.namespace()
    with NodeProcess(SLOW, ns, max_waiting=2) as process, FakeMapper(ns) as mapper, SceneClient(ns) as client:
        mapper.publish(make_scene(1, chair(1, 1.0)))
        assert client.wait(ros_live.START_S)
        wait_for(lambda: client.ask("0").answer.success)
        yield process, ns


def test_beyond_its_queue_it_is_busy(slow: tuple[NodeProcess, str]) -> None:
    with SceneClient(slow[1], scenes=False) as client:
        assert client.wait()
        futures = [client._ask.call_async(AskScene.Request(question="0.3")) for _ in range(10)]
        wait_for(lambda: all(f.done() for f in futures), 10, "all replies")
        codes = sorted(f.result().error_code for f in futures)
        assert codes == [""] * 2 + ["BUSY"] * 8


def test_the_deadline_is_kept_though_the_answer_is_not_there(slow: tuple[NodeProcess, str]) -> None:
    with SceneClient(slow[1], scenes=False) as client:
        assert client.wait()
        start = time.monotonic()
        reply = client.ask("2.0 stubborn", deadline=Duration(nanosec=300_000_000))
        assert reply.answer.error == ErrorCode.DEADLINE and time.monotonic() - start < 1.9
        wait_for(lambda: client.ask("0").answer.success, 5, "an answer after the late one")


def test_the_action_tells_its_stages_and_can_be_cancelled(slow: tuple[NodeProcess, str]) -> None:
    with Spinning(slow[1]) as tester:
        action = ActionClient(tester.node, AskSceneAction, "ask", result_service_qos_profile=qos.QUESTIONS)
        assert action.wait_for_server(10)
        stages: list[str] = []
        partials: list[str] = []

        def on_feedback(message) -> None:
            stages.append(message.feedback.stage)
            partials.append(message.feedback.partial)

        def ask(text: str):
            goal = AskSceneAction.Goal(question=text)
            sent = action.send_goal_async(goal, feedback_callback=on_feedback)
            return wait_for(lambda: sent.done() and sent.result(), 5, "the goal")

        handle = ask("0.2")
        result = handle.get_result_async()
        wait_for(result.done, 5, "the result")
        assert (result.result().status, result.result().result.answer) == (4, "0.2")  # succeeded
        assert stages[:2] == ["waiting", "reading"] and set(stages[2:]) == {"answering"}
        assert partials[0] == "" and partials[-1].startswith("x"), "the text so far"

        first, second = ask("2.5"), ask("2.5")
        results = [first.get_result_async(), second.get_result_async()]
        cancel = second.cancel_goal_async()
        wait_for(cancel.done, 5, "the cancel")
        assert len(cancel.result().goals_canceling) == 1
        wait_for(results[1].done, 5, "the cancelled result")
        assert not results[0].done(), "cancelling waits for nobody"
        assert (results[1].result().status, results[1].result().result.error_code) == (5, "CANCELLED")
        wait_for(results[0].done, 5, "the other result")
        assert results[0].result().status == 4
        assert results[0].result().result.value >= 1, "the answerer heard of the cancel"
        action.destroy()


def test_it_ends_cleanly_with_questions_under_way(slow: tuple[NodeProcess, str]) -> None:
    process, ns = slow
    with SceneClient(ns, scenes=False) as client:
        assert client.wait()
        for _ in range(2):
            client._ask.call_async(AskScene.Request(question="0.5"))
        time.sleep(0.2)
        assert process.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("deadline_s", -1.0, "deadline_s = -1.0 is out of range"),
        ("answerer", "transformers", "no model is named: set model to a directory"),
        ("answerer", "openai", "set server.url"),
        ("prompt__frames", 1000, "prompt.frames = 1000 is out of range"),
        ("devise", "cuda", "did you mean 'device'?"),
    ],
)
def test_a_wrong_parameter_keeps_it_from_starting(name: str, value: object, words: str) -> None:
    with NodeProcess(ANSWERER, ros_live.namespace(), **{name: value}) as process:
        assert process.process.wait(timeout=ros_live.START_S) == 2
        assert words in process.said() and "Traceback" not in process.said()
