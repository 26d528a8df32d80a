"""Training the geometry encoder: what is true of a frame, that it learns and goes on exactly, how it is measured."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from part_sets import VIEWS, write_view_run, write_view_set
from safetensors.torch import load_file
from tiny_geometry import SHAPE
from typer.testing import CliRunner

from s3d_ros import cli
from s3d_ros.geometry_tokens.encoder import GeometryError
from s3d_ros.geometry_tokens.recurrent import RecurrentGeometry
from s3d_ros.geometry_tokens.small import SmallGeometry
from s3d_ros.train.geometry.clips import Clip, clip_of, make_clips, split
from s3d_ros.train.geometry.episodes import Look, episode, frames, truth_of, walk
from s3d_ros.train.geometry.fit import GeometryTraining, rate, train_geometry
from s3d_ros.train.geometry.losses import depth_loss, turned
from s3d_ros.train.geometry.measure import depth_errors, measure, motion_error, usual_depth
from s3d_ros.types import Intrinsics

torch.set_num_threads(1)
CAMERA = Intrinsics(128, 96, 120.0, 120.0, 63.5, 47.5)
SIZE = (64, 48)


def wall_clip(
    name: str = "wall", count: int = 8, step_m: float = 0.1, depth_m: float = 2.0, tint: tuple[float, ...] = (1, 1, 1)
) -> Clip:
    """A camera that slides along a painted wall: 0.1 m at 2 m are 6 of its 128 pixels."""
    rng = np.random.default_rng(len(name))
    painted = cv2.resize(rng.integers(0, 255, (40, 80, 3), dtype=np.uint8), (480, 240), interpolation=cv2.INTER_CUBIC)
    painted = (painted * tint).astype(np.uint8)

    def shots():
        for k in range(count):
            T = np.eye(4)
            T[0, 3] = step_m * k
            x = round(step_m * k * CAMERA.fx / depth_m)
            color = np.ascontiguousarray(painted[60:156, x : x + 128])
            yield 1_000_000 * k, color, np.full((96, 128), depth_m, np.float32), CAMERA, T

    return clip_of(name, shots())


# --- clips --------------------------------------------------------------------------------------------------------


def test_a_clip_is_written_and_read_again(tmp_path: Path) -> None:
    clip = wall_clip()
    clip.write(tmp_path / "wall.npz")
    again = Clip.read(tmp_path / "wall.npz")
    assert len(again) == 8 and again.jpegs == clip.jpegs and again.name == "wall"
    assert again.depth_mm.shape == (8, 48, 64) and (again.depth_mm == 2000).all()
    assert again.intrinsics[0] == pytest.approx([120 / 128, 120 / 96, 0.5, 0.5])
    assert again.color(0).shape == (96, 128, 3)
    (tmp_path / "wall.npz").write_bytes(b"no zip")
    with pytest.raises(GeometryError, match=r"wall\.npz is no clip, or damaged"):
        Clip.read(tmp_path / "wall.npz")


def test_clips_are_made_of_runs_and_training_sets(tmp_path: Path) -> None:
    run = write_view_run(tmp_path / "run")
    made = make_clips([run, write_view_set(tmp_path / "set", run)], tmp_path / "clips")
    assert [len(Clip.read(p)) for p in made] == [VIEWS] * 3  # of the run, and of the set's two scenes
    for clip in map(Clip.read, made):
        assert np.allclose(np.diff(clip.T_map_camera[:, 0, 3]), 0.3)
        assert (clip.depth_mm[0, :5] == 0).all() and (clip.depth_mm[0, 6:] == 1300).all()
    stamps = [p.stat().st_mtime_ns for p in made]
    assert [p.stat().st_mtime_ns for p in make_clips([run], tmp_path / "clips")] == stamps[:1]
    bare = write_view_run(tmp_path / "bare", depth=False)
    with pytest.raises(GeometryError, match=r"bare has 0 frames with depth and pose"):
        make_clips([bare], tmp_path / "clips")
    with pytest.raises(GeometryError, match="is not there: give recordings"):
        make_clips([tmp_path / "none"], tmp_path / "clips")


def test_rooms_that_are_held_out_are_the_last_by_name() -> None:
    paths = [Path(n) for n in ("c.npz", "a.npz", "b.npz")]
    assert split(paths, 1) == ([Path("a.npz"), Path("b.npz")], [Path("c.npz")])
    with pytest.raises(GeometryError, match="3 of 3 sources are held out, which leaves none"):
        split(paths, 3)


# --- what is true -------------------------------------------------------------------------------------------------


def test_what_is_true_of_a_frame_is_known_by_hand() -> None:
    made = frames(wall_clip(), [0, 1], SIZE)
    told = truth_of(made.part(1, 2), made.part(0, 1))
    # 0.1 m to the right at 2 m: 3 of 64 pixels, 0.375 cells
    x = torch.arange(8).repeat(6).float()
    assert torch.allclose(told.xy[0, :, 0], x + 0.375, atol=1e-3)
    assert torch.allclose(told.xy[0, :, 1], torch.arange(6).repeat_interleave(8).float(), atol=1e-3)
    assert torch.allclose(told.t, torch.tensor([[0.1, 0, 0]])) and turned(told.R).abs().max() < 1e-5
    seen = told.seen.reshape(6, 8)
    assert told.known.all() and seen[:, :7].all() and not seen[:, 7].any()  # the last ones came into view
    far = frames(wall_clip(step_m=0.8), [0, 1], SIZE)  # 24 px: three cells of what is seen now were not in view
    told = truth_of(far.part(1, 2), far.part(0, 1))
    assert not told.seen.reshape(6, 8)[:, 5:].any() and told.seen.reshape(6, 8)[:, :5].all() and told.known.all()


def test_what_is_hidden_was_not_seen() -> None:
    clip = wall_clip()
    clip.depth_mm[0, :, :32] = 1000  # before, something stood in front of the left half
    made = frames(clip, [0, 1], SIZE)
    seen = truth_of(made.part(1, 2), made.part(0, 1)).seen.reshape(6, 8)
    assert not seen[:, :3].any() and seen[:, 4:7].all()


def test_zoom_and_flip_keep_the_geometry_true() -> None:
    """Points that two frames share agree in their pixels, however the pictures were cut."""
    clip = wall_clip()
    for look in (Look(zoom=0.5, left=0.3, top=0.2), Look(flip=True), Look(zoom=0.7, left=0.1, flip=True)):
        made = frames(clip, [0, 2], SIZE, look)
        assert made.intrinsics[0, 0, 0] == pytest.approx(120 / 128 / look.zoom)
        told = truth_of(made.part(1, 2), made.part(0, 1))
        grey = made.pixels.mean(dim=2)[:, 0]
        shift = torch.tensor(6 / look.zoom * (-1 if look.flip else 1))  # pixels of 64, by 0.2 m
        assert told.t[0, 0] == pytest.approx(-0.2 if look.flip else 0.2)
        moved = torch.from_numpy(np.roll(grey[0].numpy(), -round(float(shift)), axis=1))
        inner = slice(16, 48)
        same, other = ((grey[1] - g)[:, inner].abs().mean() for g in (moved, grey[0]))
        assert same < 0.5 * other


def test_walks_turn_back_at_the_ends_and_episodes_are_functions_of_their_number() -> None:
    assert walk(4, 1, 2, 6) == [1, 3, 1, 1, 3, 1]
    clips = [wall_clip("a"), wall_clip("bb", depth_m=3.0)]
    a, again, other = (episode(clips, 0, n, 2, 4, SIZE) for n in (3, 3, 4))
    assert torch.equal(a.pixels, again.pixels) and not torch.equal(a.pixels, other.pixels)
    assert a.pixels.shape == (4, 2, 3, 48, 64) and a.depth_m.shape == (4, 2, 24, 32)


def test_losses_are_least_where_all_is_right() -> None:
    depth = torch.full((1, 8, 8), 2.0)
    depth[0, 0] = 0  # unknown
    right, off = (depth_loss(torch.full((1, 8, 8), m).log(), torch.full((1, 8, 8), -2.0), depth) for m in (2.0, 2.5))
    assert right == pytest.approx(-2.0) and off == pytest.approx(-2.0 + np.log(1.25) * np.exp(2.0), rel=1e-4)
    sure, unsure = (depth_loss(torch.full((1, 8, 8), 4.0).log(), torch.full((1, 8, 8), b), depth) for b in (-2.0, 0.0))
    assert unsure < sure  # to be wrong and sure of it costs most


# --- training -----------------------------------------------------------------------------------------------------


def settings(**more: object) -> GeometryTraining:
    made = {"steps": 8, "batch": 2, "chunk": 2, "chunks": 2, "warmup": 2, "every": 4, "shape": SHAPE, **more}
    return GeometryTraining(**made)  # type: ignore[arg-type]


def test_it_learns_how_far_a_red_and_a_blue_wall_are(tmp_path: Path) -> None:
    clips = [wall_clip("near", depth_m=1.0, tint=(1, 0.2, 0)), wall_clip("distant", depth_m=4.0, tint=(0, 0.2, 1))]
    model = train_geometry(settings(steps=100, lr=5e-3), clips, tmp_path / "out")
    encoder = SmallGeometry(model)
    said = [float(np.median(encoder.step(encoder.start(), c.color(0), CAMERA)[0].depth_m)) for c in clips]  # type: ignore[arg-type]
    assert said[1] > 2 * said[0]


def test_a_stopped_run_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    clips = [wall_clip()]
    rows: list[dict[str, object]] = []
    train_geometry(settings(), clips, tmp_path / "whole", tell=rows.append)
    assert [r["step"] for r in rows] == [4, 8] and {"depth", "match", "told", "solved"} <= set(rows[-1])
    train_geometry(settings(), clips, tmp_path / "broken", minutes=1e-6)  # stops at the end of its first episode
    assert torch.load(tmp_path / "broken" / "state.pt", weights_only=True)["step"] == 2
    train_geometry(settings(), clips, tmp_path / "broken")
    a, b = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("whole", "broken"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    with pytest.raises(GeometryError, match=r"holds a run of other settings: batch is 2, not 3"):
        train_geometry(settings(batch=3), clips, tmp_path / "broken")


def test_the_rate_rises_and_falls() -> None:
    made = settings(steps=100, warmup=10, lr=1.0)
    assert [round(rate(s, made), 2) for s in (0, 9, 55, 100)] == [0.1, 1.0, 0.51, 0.02]


# --- measuring ----------------------------------------------------------------------------------------------------


def test_errors_are_as_by_hand() -> None:
    assert depth_errors(np.array([1.1, 2.0, 6.0]), np.array([1.0, 2.0, 4.0])) == pytest.approx((0.2, 2 / 3))
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.array([0.0, np.radians(30), 0.0]))[0]
    turn[:3, 3] = (0.3, 0.4, 0)
    assert motion_error(turn, np.eye(4)) == pytest.approx((0.5, 30.0))


class Right:
    """An encoder that knows the wall, apart from its scale."""

    name, dim, metric, recurrent, good_poses = "right", 4, True, True, True

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def start(self) -> int:
        return 0

    def step(self, state: int, pixels: object, intrinsics: object = None) -> object:
        from s3d_ros.geometry_tokens.encoder import FrameGeometry

        T = np.eye(4)
        T[0, 3] = 0.1 * state * self.scale
        depth = np.full((12, 16), 2.0 * self.scale, np.float32)
        token = torch.zeros(1, 4)
        return FrameGeometry(token, token[0], depth, None, CAMERA.scaled(16, 12), T), state + 1


def test_an_encoder_is_measured_beside_what_needs_none() -> None:
    clips = [wall_clip(count=12)]
    usual = usual_depth([wall_clip(depth_m=2.2)])
    rows = measure(Right(1.1), clips, usual)
    assert rows["encoder"]["abs_rel"] == pytest.approx(0.1, abs=1e-3) and rows["encoder"]["abs_rel_scaled"] < 1e-3
    assert rows["encoder"]["shift_error_m"] == pytest.approx(0.01, abs=1e-3)
    assert rows["mean depth"]["abs_rel"] == pytest.approx(0.1, abs=1e-3)
    assert rows["no motion"]["shift_error_m"] == pytest.approx(0.1) and "drift_50_m" not in rows["no motion"]
    assert measure(Right(1.0), clips, usual)["encoder"]["within_1.25"] == 1.0


def test_the_commands_train_and_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(3):
        write_view_run(tmp_path / "runs" / f"room-{k}")
    monkeypatch.setattr(
        "s3d_ros.train.geometry.fit.GeometryTraining", lambda steps, seed: settings(steps=steps, seed=seed)
    )
    where = [str(tmp_path / "runs"), "--clips", str(tmp_path / "clips"), "--hold-out", "1"]
    fitted = CliRunner().invoke(
        cli.app, ["train-geometry", "fit", *where, "--out", str(tmp_path / "out"), "--steps", "4"]
    )
    assert fitted.exit_code == 0, fitted.output
    assert f"2 clips, {2 * VIEWS} frames" in fitted.output
    told = CliRunner().invoke(cli.app, ["train-geometry", "measure", str(tmp_path / "out" / "model"), *where])
    assert told.exit_code == 0 and "encoder: abs_rel" in told.output and "no motion: shift_error_m 0.3" in told.output


def test_what_it_is_made_of_is_within_its_budget() -> None:
    from s3d_ros.geometry_tokens.config import RecurrentConfig

    weights = sum(p.numel() for p in RecurrentGeometry(RecurrentConfig()).parameters())
    assert 1e6 < weights < 4e6  # 8 MB with 16 bits each
