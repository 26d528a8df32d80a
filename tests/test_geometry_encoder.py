"""The geometry encoder: motion from matches and depth, its state, its files, and the pretrained kinds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from tiny_geometry import SHAPE, make_tiny_encoder

from s3d_ros.geometry_tokens.choose import load_encoder, measured
from s3d_ros.geometry_tokens.config import RecurrentConfig
from s3d_ros.geometry_tokens.encoder import GeometryError
from s3d_ros.geometry_tokens.matching import cell_grid, match, matching_loss
from s3d_ros.geometry_tokens.odometry import Odometry
from s3d_ros.geometry_tokens.recurrent import RecurrentGeometry
from s3d_ros.geometry_tokens.small import SmallGeometry
from s3d_ros.geometry_tokens.solve import rotation, solve_motion
from s3d_ros.types import Intrinsics

torch.set_num_threads(1)
CAMERA = Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)


def noise(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


# --- motion -------------------------------------------------------------------------------------------------------


def seen_points(turn: list[float], shift: list[float], count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of a camera, and where they were in the one before, which the motion takes them to."""
    rng = np.random.default_rng(3)
    points = torch.tensor(rng.uniform((-1, -1, 1), (1, 1, 4), (1, count, 3)), dtype=torch.float32)
    moved = points @ rotation(torch.tensor([turn])).transpose(1, 2) + torch.tensor(shift)
    return points, moved[..., :2] / moved[..., 2:]


@pytest.mark.parametrize(
    ("turn", "shift"), [([0.0, 0.35, 0.0], [0.1, 0.0, 0.2]), ([0.1, -0.2, 0.05], [0.0, 0.05, -0.3])]
)
def test_the_motion_that_explains_the_matches_is_found(turn: list[float], shift: list[float]) -> None:
    points, at = seen_points(turn, shift)
    R, t = solve_motion(points, at, torch.ones(1, 60))
    assert torch.allclose(R, rotation(torch.tensor([turn])), atol=2e-3)
    assert torch.allclose(t, torch.tensor([shift]), atol=5e-3)


def test_wrong_matches_count_little_and_depth_gives_the_scale() -> None:
    points, at = seen_points([0.0, 0.1, 0.0], [0.2, 0.0, 0.0])
    wrong = at.clone()
    wrong[0, ::10] += 0.3
    _, t = solve_motion(points, wrong, torch.ones(1, 60))
    assert torch.allclose(t, torch.tensor([[0.2, 0.0, 0.0]]), atol=0.05)
    weight = torch.ones(1, 60)
    weight[0, ::10] = 0
    assert torch.allclose(solve_motion(points, wrong, weight)[1], torch.tensor([[0.2, 0.0, 0.0]]), atol=5e-3)
    assert torch.allclose(solve_motion(2 * points, at, torch.ones(1, 60))[1], torch.tensor([[0.4, 0, 0]]), atol=1e-2)


def test_without_matches_the_camera_stands_still() -> None:
    points, at = seen_points([0.0, 0.3, 0.0], [0.2, 0.0, 0.0])
    R, t = solve_motion(points, at, torch.zeros(1, 60))
    assert torch.equal(R, torch.eye(3)[None]) and torch.equal(t, torch.zeros(1, 3))


def test_gradients_reach_depth_and_matches_through_the_motion() -> None:
    points, at = seen_points([0.0, 0.1, 0.0], [0.2, 0.0, 0.1])
    points.requires_grad_()
    at.requires_grad_()
    solve_motion(points, at, torch.ones(1, 60))[1].sum().backward()
    assert points.grad is not None and at.grad is not None
    assert points.grad.isfinite().all() and points.grad.abs().sum() > 0 and at.grad.abs().sum() > 0


def test_matches_find_shifted_features_and_what_left_the_picture() -> None:
    torch.manual_seed(0)
    before = torch.randn(1, 32, 6, 8)
    now = torch.roll(before, 2, dims=3)  # what was at x is at x + 2
    now[..., :2] = torch.randn(1, 32, 6, 2)  # and what is new there was nowhere
    found = match(now, before, torch.tensor(30.0), torch.tensor(15.0))
    grid = cell_grid(6, 8)
    old = grid[:, 0] >= 2
    assert torch.allclose(found.xy[0, old], grid[old] - torch.tensor([2.0, 0.0]), atol=0.02)
    assert (found.weight[0, old] > 0.99).all() and (found.weight[0, ~old] < 0.6).all()
    true = grid[None] - torch.tensor([2.0, 0.0])
    right = matching_loss(found, true, old[None], torch.ones(1, 48, dtype=torch.bool), (6, 8))
    wrong = matching_loss(found, true + 1, old[None], torch.ones(1, 48, dtype=torch.bool), (6, 8))
    assert right < 0.2 and wrong > right + 3


# --- the encoder --------------------------------------------------------------------------------------------------


def test_frames_give_tokens_depth_and_poses(tmp_path: Path) -> None:
    encoder = load_encoder(str(make_tiny_encoder(tmp_path / "encoder")))
    first, state = encoder.step(encoder.start(), noise(0), CAMERA)
    assert first.tokens.shape == (3 * 4 + 1, 32) and encoder.dim == 32
    assert first.depth_m is not None and first.depth_m.shape == (24, 32) and (first.depth_m > 0).all()
    assert first.intrinsics is not None and first.intrinsics.fx == pytest.approx(30.0)
    assert first.T_first_camera is not None and np.array_equal(first.T_first_camera, np.eye(4))
    second, _ = encoder.step(state, noise(1), CAMERA)
    again, _ = encoder.step(state, noise(1), CAMERA)
    alone, _ = encoder.step(encoder.start(), noise(1), CAMERA)
    assert torch.equal(second.tokens, again.tokens)  # nobody wrote to the state
    assert not torch.allclose(second.patch_tokens, alone.patch_tokens)  # it knows what came before
    assert second.T_first_camera is not None and np.linalg.det(second.T_first_camera[:3, :3]) == pytest.approx(
        1, abs=1e-4
    )


def test_a_zoomed_camera_sees_the_same_picture_further_away(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = RecurrentGeometry(SHAPE)
    torch.nn.init.zeros_(model.place.weight)  # what is left is the canonical camera's scale
    encoder = SmallGeometry(model)
    far = Intrinsics(64, 48, 120.0, 120.0, 31.5, 23.5)
    near_m, far_m = (encoder.step(encoder.start(), noise(0), k)[0].depth_m for k in (CAMERA, far))
    assert near_m is not None and far_m is not None and np.allclose(far_m, 2 * near_m, rtol=1e-4)


def test_pictures_of_any_shape_go_in_as_they_are(tmp_path: Path) -> None:
    encoder = load_encoder(str(make_tiny_encoder(tmp_path / "encoder")))
    wide, state = encoder.step(encoder.start(), noise(0, 90, 160))
    assert wide.depth_m is not None and wide.depth_m.shape == (24, 40)
    assert wide.intrinsics is not None  # a guess with square pixels
    assert wide.intrinsics.fx / 40 * 160 == pytest.approx(wide.intrinsics.fy / 24 * 90)
    turned, _ = encoder.step(state, noise(1, 160, 90))  # nothing to match with: as a first frame
    assert turned.depth_m is not None and turned.depth_m.shape == (40, 24)


def test_it_is_written_with_16_bits_and_read_again(tmp_path: Path) -> None:
    folder = make_tiny_encoder(tmp_path / "encoder")
    weights = load_file(folder / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert json.loads((folder / "config.json").read_text())["kind"] == "s3d_recurrent_geometry"
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, "depth_of_field": 3}))
    with pytest.raises(GeometryError, match=r"config\.json has keys that are not known here: depth_of_field"):
        load_encoder(str(folder))
    (folder / "config.json").write_text(json.dumps({**told, "dim": 48}))
    with pytest.raises(GeometryError, match=r"model\.safetensors can't be used: .*size mismatch"):
        load_encoder(str(folder))
    with pytest.raises(GeometryError, match=r"dim = 30 must be a multiple of heads = 4"):
        RecurrentConfig(dim=30)


def test_a_cut_file_is_told(tmp_path: Path) -> None:
    folder = make_tiny_encoder(tmp_path / "encoder")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GeometryError, match=r"can't be used: .*copy them anew"):
        load_encoder(str(folder))


@pytest.mark.parametrize(
    ("name", "files", "said"),
    [
        ("nothing", {}, r"has no config\.json that tells what it is\. Give 'small' \(shipped\)"),
        ("VGGT-1B", {"config.json": '{"model_type": "vggt"}'}, r"is a vggt \(VGGT: neither s3d_ros nor Transformers"),
        ("qwen", {"config.json": '{"model_type": "qwen2_5_vl"}'}, r"is a qwen2_5_vl\. Give"),
        (
            "relative", {"config.json": '{"model_type": "depth_anything", "depth_estimation_type": "relative"}'},
            "tells relative depth only; take a metric one",
        ),
    ],
)  # fmt: skip
def test_what_is_no_encoder_is_refused_by_name(tmp_path: Path, name: str, files: dict[str, str], said: str) -> None:
    (tmp_path / name).mkdir()
    for file, text in files.items():
        (tmp_path / name / file).write_text(text)
    with pytest.raises(GeometryError, match=said):
        load_encoder(str(tmp_path / name))


def test_what_was_measured_is_told_in_words(tmp_path: Path) -> None:
    folder = make_tiny_encoder(tmp_path / "encoder")
    assert measured(str(folder)) == "How good they are was not measured."
    (folder / "scores.json").write_text(json.dumps({"of": "two rooms", "abs_rel": 0.123, "drift_50_m": 1.51}))
    assert "In two rooms its depth was off by 12 % on average, and its place by 1.5 m after 50" in measured(str(folder))


# --- pretrained depth models --------------------------------------------------------------------------------------

_DINO = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "mlp_ratio": 2, "patch_size": 14}


def tiny_depth_anything(folder: Path) -> Path:
    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        **_DINO, image_size=28, out_indices=[1, 2, 3, 4], apply_layernorm=True, reshape_hidden_states=False
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=32, neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=8,
        head_hidden_size=8, depth_estimation_type="metric", max_depth=20,
    )  # fmt: skip
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    return folder


def tiny_depth_pro(folder: Path) -> Path:
    torch.manual_seed(0)
    one = {"model_type": "dinov2", **_DINO, "image_size": 32, "patch_size": 8}
    config = transformers.DepthProConfig(
        image_model_config=one, patch_model_config=one, fov_model_config=one, patch_size=32, use_fov_model=True,
        intermediate_hook_ids=[2, 0], intermediate_feature_dims=[8, 8], scaled_images_feature_dims=[16, 8, 8],
        fusion_hidden_size=8, num_fov_head_layers=0,
    )  # fmt: skip
    transformers.DepthProForDepthEstimation(config).save_pretrained(folder)
    return folder


def test_depth_anything_gives_tokens_and_metric_depth(tmp_path: Path) -> None:
    encoder = load_encoder(str(tiny_depth_anything(tmp_path / "anything")))
    assert (encoder.recurrent, encoder.metric, encoder.dim) == (False, True, 32)
    told, state = encoder.step(encoder.start(), noise(0), CAMERA)
    assert state is None and told.T_first_camera is None and told.depth_m is not None
    h, w = told.depth_m.shape
    assert told.patch_tokens.shape == (h // 14 * (w // 14), 32) and told.camera_token.shape == (32,)
    assert (told.depth_m > 0).all() and (told.depth_m < 20).all()
    assert told.intrinsics is not None and told.intrinsics.fx == pytest.approx(60 / 64 * w)
    other, _ = encoder.step(None, noise(1), CAMERA)
    assert not torch.allclose(other.patch_tokens, told.patch_tokens)


def test_depth_pro_guesses_the_field_of_view_and_scales_by_it(tmp_path: Path) -> None:
    encoder = load_encoder(str(tiny_depth_pro(tmp_path / "pro")))
    guessed, _ = encoder.step(None, noise(0))
    assert guessed.intrinsics is not None and guessed.depth_m is not None and guessed.patch_tokens.shape == (16, 32)
    near, far = (
        encoder.step(None, noise(0), Intrinsics(64, 48, f, f, 31.5, 23.5))[0].depth_m for f in (60.0, 120.0)
    )  # fmt: skip
    assert near is not None and far is not None
    told = far < 900  # random weights say "endlessly far" here and there
    assert told.any() and np.allclose(far[told], 2 * near[told], rtol=1e-3)


# --- odometry by features -----------------------------------------------------------------------------------------


def textured(seed: int = 5) -> np.ndarray:
    """A large wall with much on it."""
    rng = np.random.default_rng(seed)
    wall = np.full((900, 1200, 3), 128, np.uint8)
    for _ in range(700):
        a = rng.integers(0, (1200, 900))
        color = tuple(int(c) for c in rng.integers(0, 255, 3))
        cv2.rectangle(wall, a.tolist(), (a + rng.integers(8, 50, 2)).tolist(), color, -1)
    return wall


def test_features_and_depth_give_the_camera_s_way() -> None:
    wall, odometry = textured(), Odometry()
    camera = Intrinsics(640, 480, 500.0, 500.0, 319.5, 239.5)
    depth = np.full((48, 64), 2.0, np.float32)  # of another size than the picture, as an encoder's is
    for x in (200, 250, 300):  # 50 px of a wall 2 m away are 0.2 m
        T = odometry.step(np.ascontiguousarray(wall[200:680, x : x + 640]), depth, camera)
    assert np.allclose(T[:3, 3], (0.4, 0, 0), atol=0.01) and np.allclose(T[:3, :3], np.eye(3), atol=0.01)
    assert odometry.tracked > 0.8
    odometry.step(np.zeros((480, 640, 3), np.uint8), depth, camera)
    assert odometry.tracked == 0.0 and np.allclose(odometry.T_first_camera, T)
