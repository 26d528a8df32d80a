"""The answerer's scene: complete or not at all, whatever the order of the messages; never of two maps at once."""

import dataclasses
import itertools

import numpy as np
import pytest

from s3d_ros.ros import conversions, pictures
from s3d_ros.ros.scene_receiver import MAX_PARTS, SceneReceiver
from s3d_ros.types import Bev, Intrinsics, Marker, ObjectState, OrientedBox, Scene, SceneObject, ViewFrame

UP = np.array([0.0, 0.0, 1.0])
MAP = 100


def thing(number: int, x: float = 0.0, aliases: tuple[int, ...] = ()) -> SceneObject:
    return SceneObject(number, "cup", OrientedBox(np.array([x, 0, 0]), np.ones(3), np.eye(3)), {"cup": 1.0}, aliases)


def view(number: int, revision: int = 1) -> ViewFrame:
    markers = (Marker(revision, 1.0, 2.0),)
    return ViewFrame(number, revision, number, b"jpeg", Intrinsics(4, 4, 1, 1, 1, 1), np.eye(4), markers)


def scene(version: int, *objects: SceneObject, stamp: int = 1, pose: bool = True) -> Scene:
    T = np.eye(4) if pose else None
    return Scene(version, stamp, "map", UP, objects, T_map_robot=T, floor_area_m2=3.0)


def full(version: int, *objects: SceneObject, bev: int = 0, views: dict | None = None, map_id: int = MAP):
    return conversions.objects_msg(scene(version, *objects), map_id, None, (), bev, views or {})


def change(*objects: SceneObject, removed: tuple[int, ...] = (), map_id: int = MAP, base: Scene | None = None):
    return conversions.objects_msg(base or scene(1), map_id, list(objects), removed)


def bev_parts(stamp: int, shade: int = 9):
    color = np.full((4, 6, 3), shade, np.uint8)
    bev = Bev(color, np.zeros((4, 6), np.float32), np.zeros((4, 6), np.int8), 0.1, (0.0, 0.0), np.eye(4), 0.0, 2.0)
    header = conversions.header_msg(stamp, "map")
    return [
        pictures.bev_info_msg(bev, header, MAP, 1),
        pictures.image_msg(bev.color, header),
        pictures.grid_msg(bev, header),
    ]


def ids(receiver: SceneReceiver) -> list[int]:
    made = receiver.scene()
    assert made is not None
    return [o.id for o in made.objects]


def test_it_says_what_is_missing() -> None:
    receiver = SceneReceiver()
    assert "nothing has arrived from the mapper" in receiver.missing()
    receiver.add_objects(full(1, views={1: 1}), 1)
    assert "still on the way" in receiver.missing() and receiver.scene() is None
    receiver = SceneReceiver()
    receiver.add_objects(conversions.objects_msg(scene(0, pose=False), MAP), 1)
    assert "no pose yet" in receiver.missing()
    receiver.add_objects(full(1), 2)
    assert receiver.missing() == ""


def test_any_order_gives_the_same_scene() -> None:
    messages = [
        ("objects", full(1, thing(1), thing(2), bev=50, views={1: 1, 2: 2})),
        *[("bev", part) for part in bev_parts(50)],
        ("view", pictures.view_msg(view(1), "map", MAP, 1)),
        ("view", pictures.view_msg(view(2, 2), "map", MAP, 1)),
    ]
    for order in itertools.permutations(messages):
        receiver = SceneReceiver()
        for k, (kind, msg) in enumerate(order):
            assert receiver.scene() is None, "swapped in before it was complete"
            if kind == "objects":
                receiver.add_objects(msg, k)
            elif kind == "bev":
                receiver.add_bev(msg)
            else:
                receiver.add_view(msg)
        made = receiver.scene()
        assert [o.id for o in made.objects] == [1, 2] and made.bev is not None
        assert [(v.id, v.revision) for v in made.views] == [(1, 1), (2, 2)]


def test_the_old_scene_holds_until_the_new_one_is_complete() -> None:
    receiver = SceneReceiver()
    receiver.add_view(pictures.view_msg(view(1, 1), "map", MAP, 1))
    receiver.add_objects(full(1, thing(1), views={1: 1}), 1)
    receiver.add_objects(full(2, thing(1), thing(2), views={1: 2}), 2)
    assert receiver.scene().map_version == 1 and ids(receiver) == [1]
    receiver.add_view(pictures.view_msg(view(1, 2), "map", MAP, 2))
    assert receiver.scene().map_version == 2 and ids(receiver) == [1, 2]
    assert receiver.scene().views[0].markers[0].object_id == 2


def test_newest_complete_version_wins_over_older_ones_that_complete_later() -> None:
    receiver = SceneReceiver()
    receiver.add_objects(full(1, thing(1), views={1: 1}), 1)
    receiver.add_objects(full(2, thing(2)), 2)
    assert receiver.scene().map_version == 2
    receiver.add_view(pictures.view_msg(view(1), "map", MAP, 1))
    assert receiver.scene().map_version == 2


def test_changes_are_seen_at_once_and_older_ones_never() -> None:
    receiver = SceneReceiver()
    receiver.add_objects(full(1, thing(1), thing(2)), 10)
    receiver.add_objects(change(thing(1, x=5.0), thing(3), removed=(2,)), 11)
    assert ids(receiver) == [1, 3]
    assert receiver.scene().find(1).box.center[0] == 5.0
    receiver.add_objects(full(2, thing(1, x=6.0), thing(2)), 20)
    assert ids(receiver) == [1, 2] and receiver.scene().find(1).box.center[0] == 6.0
    receiver.add_objects(change(thing(2, x=-1.0)), 15)  # overtaken on its way
    assert receiver.scene().find(2).box.center[0] == 0.0


def test_merged_ids_lead_to_the_survivor() -> None:
    receiver = SceneReceiver()
    receiver.add_objects(full(1, thing(1), thing(2)), 1)
    receiver.add_objects(change(thing(1, aliases=(2,)), removed=(2,)), 2)
    assert ids(receiver) == [1] and receiver.scene().find(2).id == 1


def test_the_robot_moves_with_every_array() -> None:
    receiver = SceneReceiver()
    receiver.add_objects(full(1, thing(1)), 1)
    T = np.eye(4)
    T[0, 3] = 4.0
    receiver.add_objects(change(base=dataclasses.replace(scene(1, stamp=77), T_map_robot=T)), 2)
    assert receiver.scene().T_map_robot[0, 3] == 4.0 and receiver.scene().stamp_ns == 77
    assert ids(receiver) == [1] and receiver.scene().map_version == 1


def test_stamps_that_go_backwards_do_no_harm() -> None:
    """A bag that loops: the order of sending counts, not the images' stamps."""
    receiver = SceneReceiver()
    receiver.add_objects(full(1, thing(1)), 1)
    receiver.add_objects(change(thing(1, x=1.0), base=scene(1, stamp=900)), 2)
    receiver.add_objects(change(thing(1, x=2.0), base=scene(1, stamp=5)), 3)
    assert receiver.scene().find(1).box.center[0] == 2.0 and receiver.scene().stamp_ns == 5


def test_a_restarted_mapper_replaces_everything() -> None:
    receiver = SceneReceiver()
    receiver.add_view(pictures.view_msg(view(1, 9), "map", MAP, 1))
    receiver.add_objects(full(50, thing(1), thing(2), views={1: 9}), 1)
    receiver.add_objects(change(thing(3)), 2)
    new = MAP + 1
    receiver.add_objects(full(1, thing(1, x=9.0), views={1: 1}, map_id=new), 3)
    assert receiver.scene().map_version == 50, "the old map's view frame 1 is not the new map's"
    receiver.add_objects(change(thing(2, x=7.0), map_id=MAP), 4)  # of the old map, late
    receiver.add_view(pictures.view_msg(view(1, 1), "map", new, 1))
    made = receiver.scene()
    assert (made.map_version, [o.id for o in made.objects], made.views[0].revision) == (1, [1], 1)
    assert receiver.map_id == new


def test_broken_parts_leave_the_scene_as_it_is() -> None:
    receiver = SceneReceiver()
    receiver.add_objects(full(1, thing(1)), 1)
    info, image, _ = bev_parts(5)
    grid = bev_parts(5)[2]
    grid.info.width = 3
    receiver.add_bev(info)
    receiver.add_bev(image)
    with pytest.raises(ValueError, match="differ"):
        receiver.add_bev(grid)
    bad = full(2, thing(1))
    bad.objects[0].pose.orientation.w = 0.0
    with pytest.raises(ValueError, match="object 1"):
        receiver.add_objects(bad, 2)
    assert ids(receiver) == [1]


def test_memory_is_bounded() -> None:
    receiver = SceneReceiver()
    for k in range(1, 200):
        for part in bev_parts(k, k % 255):
            receiver.add_bev(part)
        receiver.add_view(pictures.view_msg(view(k), "map", MAP, k))
        receiver.add_objects(full(k, thing(1), bev=k, views={k: 1}), k)
    assert receiver.scene().bev.color[0, 0, 0] == 199
    assert len(receiver._bevs) <= MAX_PARTS and len(receiver._views[MAP]) <= 2


def test_gone_objects_stay_gone() -> None:
    receiver = SceneReceiver()
    receiver.add_objects(full(1, dataclasses.replace(thing(1), state=ObjectState.GONE)), 1)
    assert receiver.scene().objects[0].state is ObjectState.GONE
