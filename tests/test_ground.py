"""The grounding head: which cells show an object, what is compared, and what is chosen; by hand."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from part_sets import write_view_run, write_view_set
from tiny_vlm import make_tiny

from s3d_ros.chat import ChatImage
from s3d_ros.train.batch import Batch, Seen
from s3d_ros.train.config import GroundConfig, ModelPart
from s3d_ros.train.model import load
from s3d_ros.train.parts import ground
from s3d_ros.train.parts.ground import TOKEN, GroundHead, add_token, cells_inside, choose, ground_logits, ground_loss
from s3d_ros.train.reader import TrainingSet
from s3d_ros.train.small.model import ModelShape, make_model, make_tokenizer, save_model
from s3d_ros.types import OrientedBox
from s3d_ros.vlm.beside import beside_depth
from s3d_ros.vlm.grid import TokenGrid


def test_examples_in_its_documentation_hold() -> None:
    assert doctest.testmod(ground).failed == 0


def test_a_cell_shows_a_box_that_half_of_it_is_in() -> None:
    turned = OrientedBox(np.zeros(3), np.array([2.0, 1.0, 1.0]), np.array([[0, 1.0, 0], [-1.0, 0, 0], [0, 0, 1.0]]))
    box = OrientedBox(np.array([5.0, 0, 0]), np.ones(3), np.eye(3))
    inside, outside, unknown = (0.0, 0.9, 0.0), (0.9, 0.0, 0.0), (np.nan,) * 3  # its long side is along y
    cells = [[inside, inside, outside, outside], [inside, outside, outside, outside],
             [inside, unknown, unknown, unknown], [unknown] * 4]  # fmt: skip
    points = np.array(cells, np.float32).reshape(2, 2, 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(4, 4, 3)
    assert cells_inside(points, [turned, box], 2, 2).tolist() == [[True, False, True, False], [False] * 4]


def test_what_is_seen_of_a_table(tmp_path: Path) -> None:
    """A wall 1.3 m ahead of a camera at y = 0.2 goes through the middle of the table, 1.2 m wide and 0.7 m high."""
    scene = TrainingSet(write_view_set(tmp_path / "set", write_view_run(tmp_path / "run")), "train").scene(0)
    view = scene.views[2]  # at x = 2.0, z = 1.2
    depth_mm = np.full((48, 64), 1300, np.uint16)
    beside = beside_depth(depth_mm, view.intrinsics, view.T_map_camera, np.array(scene.data["up"]))
    head = GroundHead(GroundConfig(head=True, width=8), 12, 7, None)
    image = ChatImage(view.marked, np.zeros((48, 64, 3), np.uint8), beside)
    told = head.picture(scene, image, TokenGrid(6, 8, 48))["inside"]
    table = told[list(scene.boxes()).index(1)].reshape(6, 8)
    # x from 1.4 to 2.6 are 55 px about the middle: all but the outermost half cells; z = 0.7 is 23 px below the middle
    # row 23.5: row 47, and cells of 8 px have no half of it but for noise at the border
    assert not table[:5].any()
    near = beside | {"depth_mm": np.full((48, 64), 2000, np.uint16)}  # behind it
    behind = head.picture(scene, ChatImage("x", np.zeros((48, 64, 3), np.uint8), near), TokenGrid(6, 8, 48))["inside"]
    assert not behind.any()
    down = view.T_map_camera.copy()
    down[2, 3] = 0.35  # at the table's height: it fills the picture's middle
    low = beside_depth(depth_mm, view.intrinsics, down, np.array(scene.data["up"]))
    full = head.picture(scene, ChatImage("y", np.zeros((48, 64, 3), np.uint8), low), TokenGrid(6, 8, 48))["inside"]
    rows, columns = full[list(scene.boxes()).index(1)].reshape(6, 8).nonzero().unbind(1)
    # 0.35 m are 16 px: rows 7.3 to 39.7, cells 1 to 4; 0.6 m are 27.7 px: columns 3.8 to 59.2, cells 0 to 7 by half
    assert sorted(set(rows.tolist())) == [1, 2, 3, 4] and sorted(set(columns.tolist())) == [*range(8)][:8]
    assert not head.picture(scene, ChatImage("bev", np.zeros((48, 64, 3), np.uint8)), TokenGrid(6, 8, 48))[
        "inside"
    ].any()


def test_the_loss_by_hand() -> None:
    asked, none = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 3.0])
    shown = torch.tensor([[5.0, 0.0], [3.0, 4.0]])  # cosines 1 and 0.6; of none 0
    logits = ground_logits(asked, shown, none)
    assert logits.tolist() == pytest.approx([1 / 0.07, 0.6 / 0.07, 0.0], rel=1e-5)
    shares = logits.softmax(0)
    one, both = torch.tensor([False, True]), torch.tensor([True, True])
    assert float(ground_loss(logits, one)) == pytest.approx(-float(shares[1].log()), rel=1e-4)
    assert float(ground_loss(logits, both)) == pytest.approx(-float(shares[:2].log().mean()), rel=1e-4)
    assert float(ground_loss(logits, one & False)) == pytest.approx(-float(shares[2].log()), rel=1e-4)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), st.floats(0.05, 0.95))
@settings(max_examples=80, deadline=None)
def test_as_many_as_have_the_share(logits: list[float], share: float) -> None:
    shares = torch.tensor(logits).softmax(0)
    chosen = choose(shares, share)
    assert len(shares) - 1 not in chosen and len(set(chosen)) == len(chosen)
    if chosen:
        assert float(shares[chosen[:-1]].sum()) < share + 1e-6  # the last one was needed
        assert shares[chosen].min() >= max(s for i, s in enumerate(shares) if i not in chosen) or chosen == [
            *range(len(shares) - 1)
        ]
    else:
        assert int(shares.argmax()) == len(shares) - 1


def test_objects_are_means_of_what_shows_them_and_hidden_views_show_none() -> None:
    head = GroundHead(GroundConfig(head=True, width=8), 12, 7, None)
    inside = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    seen = [Seen(0, "v", 3, {"ground": {"inside": inside}}), Seen(0, "hidden", 1, {"ground": {"inside": inside}}),
            Seen(1, "v", 3, {"ground": {"inside": inside}})]  # fmt: skip
    z = torch.zeros(2, 1, dtype=torch.long)
    batch = Batch(z, z, z, z[None], None, [], tuple(seen))
    features = torch.arange(7.0)[:, None].expand(7, 12)
    middles = torch.full((3, 3), torch.nan)
    shown, which = head._objects(batch, 0, features, middles)
    assert which.tolist() == [0, 2] and shown[:, 0].tolist() == [1.0, 1.0]  # (0 + 2) / 2, and 1
    shown, which = head._objects(batch, 1, features, middles)
    assert which.tolist() == [0, 2] and shown[:, 0].tolist() == [5.0, 5.0]


def test_it_learns_whom_is_meant() -> None:
    """Two objects in features that are given; the token's state says which. A head that is trained tells."""
    torch.manual_seed(0)
    head = GroundHead(GroundConfig(head=True, width=16), 12, 7, None)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    features, states = torch.randn(4, 12), torch.randn(3, 12)
    inside = torch.eye(2, dtype=torch.bool).repeat_interleave(2, 1)
    wanted = [torch.tensor([True, False]), torch.tensor([False, True]), torch.tensor([False, False])]
    ids = torch.tensor([[9, 9, 9, 9, 7]])
    losses = []
    for step in range(120):
        k = step % 3
        made = {"meant": wanted[k], "none": torch.tensor(k == 2), "middle_m": torch.zeros(2, 3)}
        batch = Batch(ids, ids, ids, ids[None], None, [], (Seen(0, "v", 4, {"ground": {"inside": inside}}),),
                      ({"ground": made},), -1 if step >= 117 else 0)  # fmt: skip
        output = torch.zeros(1, 5, 12)
        output[0, 4] = states[k]
        told = head.losses(batch, features, output)
        optimizer.zero_grad()
        told["ground"].backward()
        optimizer.step()
        losses.append(float(told["ground"].detach()))
        assert step < 117 or float(told["ground_points"]) == 1.0
    assert sum(losses[-3:]) < 0.1 * sum(losses[:3])


@pytest.mark.parametrize("family", ["qwen2_5_vl", "fast_vlm"])
def test_the_token_is_a_word_that_no_text_is(family: str, tmp_path: Path) -> None:
    if family == "fast_vlm":
        tokenizer = make_tokenizer(2400)
        shape = ModelShape(tower_widths=(32, 32, 32), tower_depths=(1, 1, 1), hidden=32, layers=1, heads=2, mlp=32)
        save_model(make_model(shape, tokenizer), tokenizer, tmp_path)
    else:
        make_tiny(family, tmp_path)
    loaded = load(ModelPart(name=str(tmp_path)), "float32", "cpu", lambda what, share: None)
    model, tokenizer = loaded.model, loaded.processor.tokenizer
    before = model.get_input_embeddings().weight.detach().clone()
    number = add_token(model, tokenizer)
    after = model.get_input_embeddings().weight.detach()
    assert tokenizer.convert_tokens_to_ids(TOKEN) == number and len(after) > number
    assert torch.equal(after[: len(before)][: min(number, len(before))], before[: min(number, len(before))])
    assert torch.allclose(after[number], before.mean(dim=0), atol=1e-5)
    assert model.config.get_text_config().vocab_size == len(after) == len(model.get_output_embeddings().weight)
    assert add_token(model, tokenizer) == number and len(model.get_input_embeddings().weight) == len(after)
    assert tokenizer.decode([number], skip_special_tokens=True) == ""


def test_of_what_is_not_asked_nothing_is_made() -> None:
    head = GroundHead(GroundConfig(head=True, width=8), 12, 7, None)
    boxes = {
        3: OrientedBox(np.array([1.0, 2, 3]), np.ones(3), np.eye(3)),
        5: OrientedBox(np.zeros(3), np.ones(3), np.eye(3)),
    }
    scene = SimpleNamespace(boxes=lambda: boxes, data={"up": [0.0, -1.0, 0.0]})
    asks = lambda objects: head.example(SimpleNamespace(scene=scene, objects=objects))  # type: ignore[arg-type]  # noqa: E731
    assert asks(None) == {}
    assert asks((5,))["meant"].tolist() == [False, True] and not asks((5,))["none"] and asks(())["none"]
    assert asks((5,))["middle_m"][0, 2] == pytest.approx(-2.0)  # the height of y = 2 where y goes down
