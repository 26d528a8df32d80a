"""3D position codes: places known by hand, properties, and where each family's tokens lie on a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vlm import make_tiny

from s3d_ros.chat import ChatImage
from s3d_ros.train.config import ModelPart
from s3d_ros.train.model import load
from s3d_ros.train.small.model import ModelShape, make_model, make_tokenizer, save_model
from s3d_ros.types import Intrinsics
from s3d_ros.vlm.beside import beside_depth
from s3d_ros.vlm.config import ModelError
from s3d_ros.vlm.grid import TokenGrid, token_grid
from s3d_ros.vlm.position import PositionCode, cell_means, position_code, world_points

# Right is +x, down is -z, ahead is +y; the camera is at (1, 2, 3)
T = np.array([[1, 0, 0, 1.0], [0, 0, 1, 2.0], [0, -1, 0, 3.0], [0, 0, 0, 1]])


def test_places_by_hand() -> None:
    depth = np.full((4, 6), 2000, np.uint16)
    depth[0, 0] = 0
    points = world_points(depth, (2.0, 4.0, 2.5, 1.5), T)
    assert np.isnan(points[0, 0]).all()
    # pixel (u, v) = (4, 3): x = (4 - 2.5) / 2 * 2 = 1.5, y = (3 - 1.5) / 4 * 2 = 0.75 down, z = 2 ahead
    assert points[3, 4] == pytest.approx([1 + 1.5, 2 + 2, 3 - 0.75])


def test_cells_are_means_of_what_is_known() -> None:
    points = np.arange(4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3)
    points[0, 0] = points[0, 1] = points[1, 0] = np.nan
    points[2:, :2] = np.nan
    means = cell_means(points, 2, 2)
    assert means[0, 0].tolist() == points[1, 1].tolist()  # the only one known there
    assert means[0, 1] == pytest.approx(points[:2, 2:].reshape(-1, 3).mean(axis=0)) and np.isnan(means[1, 0]).all()
    whole = cell_means(np.arange(15, dtype=np.float32).repeat(3).reshape(3, 5, 3), 3, 2)[:, :, 0]
    assert whole.tolist() == [[0.5, 3.0], [5.5, 8.0], [10.5, 13.0]]  # of five columns the middle one is the second's


def test_codes_by_hand() -> None:
    width = 14  # two rates for each axis, two numbers left over
    code = position_code(torch.tensor([[0.35, -0.05, 99.0], [np.nan, 0.0, 0.0]]), width)
    assert not code[1].any() and not code[0, 12:].any()
    for axis, voxel in enumerate((3, -1, 50)):  # 5 m is as far as heights go
        angles = np.array([voxel, voxel / 10_000**0.5])
        assert code[0, 4 * axis : 4 * axis + 4].numpy() == pytest.approx([*np.sin(angles), *np.cos(angles)], abs=1e-5)
    assert position_code(torch.tensor([[0.3, 0.0, 0.0]]), 6)[0, 0] == pytest.approx(np.sin(3.0))  # not voxel 2


@given(
    st.lists(st.tuples(*[st.floats(-40, 40)] * 3), min_size=1, max_size=8),
    st.integers(6, 64),
    st.tuples(*[st.floats(0, 0.0999)] * 3),
)
@settings(max_examples=60, deadline=None)
def test_codes_are_those_of_voxels(places: list[tuple[float, ...]], width: int, within: tuple[float, ...]) -> None:
    voxels = torch.tensor(places).div(0.1).floor()
    middles = voxels * 0.1 + 0.05
    code = position_code(middles, width)
    assert code.shape == (len(places), width) and code.abs().max() <= 1
    elsewhere = voxels * 0.1 + 0.001 + torch.tensor(within) * 0.97
    assert torch.equal(position_code(elsewhere, width), code)
    reach = torch.tensor([15.0, 15.0, 5.0])
    assert torch.equal(position_code(middles.clamp(-reach, reach), width), code)
    inside = (middles.abs() < reach - 0.2).all(dim=1)
    shifted = position_code(middles + 0.1, width)
    assert all((a != b).any() for a, b in zip(shifted[inside], code[inside], strict=True))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_means_stay_within_and_weigh_up(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(12, 17, 3)).astype(np.float32)
    points[rng.random((12, 17)) < 0.3] = np.nan
    means = cell_means(points, rows, columns)
    known = np.isfinite(points).all(axis=2)
    if known.any():
        assert np.nanmin(means) >= np.nanmin(points) - 1e-5 and np.nanmax(means) <= np.nanmax(points) + 1e-5
    one = cell_means(points, 1, 1)[0, 0]
    assert one == pytest.approx(points[known].mean(axis=0), abs=1e-5) if known.any() else np.isnan(one).all()


def test_pictures_without_depth_are_left_alone() -> None:
    part, grid = PositionCode(12, {}), TokenGrid(1, 2, 3)
    bev = part.inputs(ChatImage("bev", np.zeros((4, 8, 3), np.uint8)), grid)
    features = torch.randn(3, 12)
    assert torch.equal(part(features, [3], [bev]), features)
    beside = beside_depth(np.full((4, 8), 1000), Intrinsics(8, 4, 8.0, 8.0, 3.5, 1.5), T, np.array([0, 0, 1.0]))
    view = part.inputs(ChatImage("view", np.zeros((4, 8, 3), np.uint8), beside), grid)
    assert view["place_m"][:2].numpy() == pytest.approx(np.array([[0.75, 3.0, 3.0], [1.25, 3.0, 3.0]]), abs=1e-6)
    changed = part(torch.cat([features, features]), [3, 3], [bev, view])
    assert torch.equal(changed[:3], features) and torch.equal(changed[5], features[2])  # a newline is nowhere
    assert not torch.equal(changed[3], features[0])


def test_the_level_frame_has_up_along_z() -> None:
    beside = beside_depth(np.zeros((2, 2)), Intrinsics(2, 2, 1, 1, 0.5, 0.5), np.eye(4), np.array([0.0, -1.0, 0.0]))
    up = beside["T_level_camera"][:3, :3] @ [0.0, -1.0, 0.0]  # of a map whose y goes down
    assert up == pytest.approx([0, 0, 1])


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "internvl", "llava_onevision", "fast_vlm"])
def test_tokens_lie_where_their_grid_says(family: str, tmp_path: Path) -> None:
    """What changes in a cell of the picture changes the feature of that cell most."""
    if family == "fast_vlm":
        shape = ModelShape(tower_widths=(32, 32, 32), tower_depths=(1, 1, 1), hidden=32, layers=1, heads=2, mlp=32)
        tokenizer = make_tokenizer(2400)
        save_model(make_model(shape, tokenizer), tokenizer, tmp_path)
    else:
        make_tiny(family, tmp_path)
    loaded = load(ModelPart(name=str(tmp_path)), "float32", "cpu", lambda what, share: None)
    height, width = (112, 168) if family in ("qwen2_5_vl", "qwen3_vl", "fast_vlm") else (56, 56)
    rng = np.random.default_rng(0)
    image = ChatImage("plain", rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    grid = loaded.family.grid(image, loaded.family.pixel_inputs(image))
    assert grid.rows > 1 and grid.columns > 1 and grid.cells in (grid.tokens, grid.tokens - 1)
    convolved = family == "fast_vlm"  # sees far about; then the middle of what moves is meant, away from borders
    cells = (3 * grid.columns + 4, 2 * grid.columns + 7) if convolved else (0, grid.columns - 1, grid.columns)
    for cell in (*cells, grid.cells - 1)[: 2 if convolved else 4]:
        r, c = divmod(cell, grid.columns)
        moved = torch.zeros(grid.tokens)
        for _ in range(6):
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            changed = pixels.copy()
            changed[r * height // grid.rows : (r + 1) * height // grid.rows,
                    c * width // grid.columns : (c + 1) * width // grid.columns] ^= 128  # fmt: skip
            with torch.no_grad():
                a, b = (loaded.family.encode(ChatImage("one", p))[0] for p in (pixels, changed))
            moved += (a - b).norm(dim=1)
        share = moved[: grid.cells].square() / moved[: grid.cells].square().sum()
        at = torch.arange(grid.cells)
        middle = float(share @ (at // grid.columns).float()), float(share @ (at % grid.columns).float())
        assert middle == pytest.approx((r, c), abs=0.7) if convolved else int(moved.argmax()) == cell


def test_published_sizes() -> None:
    class Config:
        model_type = "any"

    for px, tokens, side in ((384, 730, 27), (384, 729, 27), (448, 256, 16), (336, 576, 24)):
        grid = token_grid({"pixel_values": torch.zeros(1, 1, 3, px, px)}, tokens, Config, object())
        assert (grid.rows, grid.columns, grid.tokens) == (side, side, tokens)


def test_other_layouts_are_refused() -> None:
    class Config:
        model_type = "gemma3"

    with pytest.raises(ModelError, match=r"of a gemma3 lie on its pictures is not known here \(7 tokens\)"):
        token_grid({"pixel_values": torch.zeros(1, 3, 56, 56)}, 7, Config, object())
    with pytest.raises(ModelError, match="not known"):
        token_grid({"pixel_values": torch.zeros(3, 3, 56, 56)}, 16, Config, object())  # tiles


def test_pictures_that_are_padded_or_cut_are_refused() -> None:
    class Config:
        model_type = "llava"

    pixels = {"pixel_values": torch.zeros(1, 3, 56, 56)}
    for padded, cut in ((True, False), (False, True)):
        with pytest.raises(ModelError, match="where the tokens of a llava lie"):
            token_grid(pixels, 16, Config, transformers.LlavaImageProcessorPil(do_pad=padded, do_center_crop=cut))
    whole = transformers.LlavaImageProcessorPil(do_pad=False, do_center_crop=False)
    assert token_grid(pixels, 16, Config, whole) == TokenGrid(4, 4, 16)
