"""CUT3R's network gives what its authors' code gives, and its weights are loaded or refused in words."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from s3d_ros.geometry_tokens.choose import load_encoder
from s3d_ros.geometry_tokens.cut3r import camera_of, pose_of
from s3d_ros.geometry_tokens.cut3r_depth import PointHead
from s3d_ros.geometry_tokens.cut3r_network import Cut3r, Shape
from s3d_ros.geometry_tokens.encoder import GeometryError

torch.set_num_threads(1)
SHAPE = Shape(encoder_dim=64, encoder_blocks=2, dim=64, blocks=12, state=20, memory=8, head_dim=32, state_heads=4)
# Of the authors' code (github.com/CUT3R/CUT3R) with the weights and pictures below: of two frames each four numbers of
# the tokens, then the pose
THEIRS = (
    ((-0.8306, 0.8427, -0.7284, 0.9607), (-0.6314, 0.2790, -0.3779, 0.6063, 0.0540, 0.2923, 0.7376)),
    ((-1.7698, -0.3499, -0.7798, -0.4891), (-0.4846, 0.2259, -0.4027, 0.6042, -0.3384, 0.6972, -0.1851)),
)
THEIR_POINT, THEIR_CONFIDENCE = (0.2331, 0.46357, -0.23335), 1.81499  # of the first frame, row 10, column 20


def weights() -> dict[str, torch.Tensor]:
    """Weights that anybody can make, under the released names."""
    with torch.device("meta"):
        model, head = Cut3r(SHAPE).state_dict(), PointHead(SHAPE).state_dict()
    shapes = {k: tuple(v.shape) for k, v in model.items()}
    shapes |= {f"downstream_head.dpt_self.{k}": tuple(v.shape) for k, v in head.items()}
    out = {}
    for name, shape in shapes.items():
        n = math.prod(shape)
        wave = torch.cos(torch.arange(n, dtype=torch.float64) * 0.7 + len(name) + sum(map(ord, name)) % 17)
        wave = wave.reshape(shape)
        if len(shape) > 1:
            out[name] = (wave * (1.5 / (n // shape[0]) ** 0.5)).float()
        else:
            out[name] = (wave * 0.1 + float("norm" in name and name.endswith("weight"))).float()
    return out


def picture(k: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    return torch.stack([torch.sin(x * 0.3 + k), torch.cos(y * 0.2 + k), torch.sin((x + y) * 0.1)])[None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_file({**weights(), "mask_of_something_else": torch.zeros(3)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"head_dim": 32, "state_heads": 4}))
    return folder


def test_tokens_poses_and_points_are_those_of_the_authors_code(folder: Path) -> None:
    encoder = load_encoder(str(folder))
    state = encoder.start()
    with torch.inference_mode():
        for k, (tokens, pose) in enumerate(THEIRS):
            told, state = encoder.model.step(state, picture(k))
            mine = told.tokens[0][[0, 0, 5, 12], [0, 40, 7, 63]]
            assert mine.tolist() == pytest.approx(tokens, abs=5e-3)
            assert told.pose[0].tolist() == pytest.approx(pose, abs=1e-3)
            if k == 0:
                points, confidence = encoder.head(told.layers, (48, 64))
                assert points[0, 10, 20].tolist() == pytest.approx(THEIR_POINT, abs=1e-4)
                assert float(confidence[0, 10, 20]) == pytest.approx(THEIR_CONFIDENCE, abs=1e-4)


def test_it_is_an_encoder_as_the_others(folder: Path) -> None:
    encoder = load_encoder(str(folder))
    assert (encoder.dim, encoder.recurrent, encoder.metric) == (64, True, True)
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)  # scaled up to 512 x 384
    first, state = encoder.step(encoder.start(), pixels)
    assert first.tokens.shape == (32 * 24 + 1, 64) and first.depth_m is not None and first.depth_m.shape == (384, 512)
    assert first.T_first_camera is not None and np.linalg.det(first.T_first_camera[:3, :3]) == pytest.approx(1)
    again, _ = encoder.step(state, pixels)
    other, _ = encoder.step(state, pixels)
    assert torch.equal(again.tokens, other.tokens) and not torch.allclose(again.tokens, first.tokens, atol=1e-3)


def test_the_camera_is_read_off_the_points() -> None:
    u, v = np.meshgrid(np.arange(64) - 31.5, np.arange(48) - 23.5)
    z = 2 + 0.01 * u
    found = camera_of(np.stack([u / 50 * z, v / 50 * z, z], axis=-1), 64 / 48)
    assert (found.fx, found.fy, found.cx) == pytest.approx((50, 50, 31.5))


def test_a_pose_is_a_shift_and_a_quaternion_with_w_first() -> None:
    half = math.sqrt(0.5)
    T = pose_of(np.array([1.0, 2.0, 3.0, half, 0.0, half, 0.0]))  # a quarter turn about y
    assert np.allclose(T, [[0, 0, 1, 1], [0, 1, 0, 2], [-1, 0, 0, 3], [0, 0, 0, 1]])


def test_weights_that_lack_something_or_are_a_pickle_are_refused(folder: Path, tmp_path: Path) -> None:
    held = load_file(folder / "model.safetensors")
    del held["downstream_head.dpt_self.head.4.bias"]
    save_file(held, tmp_path / "model.safetensors")
    with pytest.raises(
        GeometryError, match=r"can't be used as CUT3R's weights: .*head\.4\.bias and 0 more are missing"
    ):
        load_encoder(str(tmp_path))
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "cut3r_512_dpt_4_64.pth").write_bytes(b"x")
    with pytest.raises(GeometryError, match=r"holds CUT3R: its released weights \(\.pth\) are a pickle"):
        load_encoder(str(tmp_path / "pickled"))
