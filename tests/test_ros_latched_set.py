"""A latecomer finds the newest message of every key among the last that were sent."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from s3d_ros.ros import latched_set
from s3d_ros.ros.latched_set import LatchedSet


@given(st.integers(1, 6), st.integers(1, 4), st.data())
def test_the_newest_of_each_key_is_always_within_reach(keys: int, room: int, data: st.DataObject) -> None:
    depth, sent = keys + room, []
    latched: LatchedSet[tuple[int, int]] = LatchedSet(depth, sent.append)
    newest = {}
    for k in range(data.draw(st.integers(0, 60))):
        key = data.draw(st.integers(1, keys))
        newest[key] = (key, k)
        latched.send(key, (key, k))
        assert {message[0]: message for message in sent[-depth:]} == newest


@given(st.lists(st.integers(1, 5), max_size=80))
def test_repetitions_are_few(keys: list[int]) -> None:
    sent: list[int] = []
    latched: LatchedSet[int] = LatchedSet(20, sent.append)
    for key in keys:
        latched.send(key, key)
    assert len(sent) <= len(keys) * (1 + 5 / (20 - 5)) + 5


def test_what_is_of_no_use_falls_out() -> None:
    sent: list[int] = []
    latched: LatchedSet[int] = LatchedSet(3, sent.append)
    latched.send(1, 1)
    latched.keep_only([])
    for _ in range(6):
        latched.send(2, 2)
    assert sent.count(1) == 1


def test_the_example_holds() -> None:
    assert doctest.testmod(latched_set).failed == 0
