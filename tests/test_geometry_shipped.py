"""The geometry encoder that is shipped: small, whole, and on a simulated room better than the mean depth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from s3d_ros.geometry_tokens.choose import SCORES, SHIPPED, load_encoder, measured

torch.set_num_threads(1)


def test_it_is_small_and_whole_and_says_how_good_it_is() -> None:
    sizes = {p.name: p.stat().st_size for p in SHIPPED.iterdir() if p.is_file()}
    assert set(sizes) == {"config.json", "model.safetensors", "README.md", SCORES}
    assert sum(sizes.values()) < 8_000_000
    told = json.loads((SHIPPED / SCORES).read_text())
    assert told["abs_rel"] < told["baselines"]["mean_depth_abs_rel"]
    card = (SHIPPED / "README.md").read_text()
    assert f"{told['abs_rel']:.3f}" in card and f"{told['drift_50_m']:.2f}" in card  # card and scores are of one run
    assert "its depth was off by" in measured("small")


def test_it_tells_depth_of_pictures_of_any_size() -> None:
    encoder = load_encoder("small")
    state = encoder.start()
    for size in ((480, 640), (480, 640), (90, 160)):
        told, state = encoder.step(state, np.full((*size, 3), 128, np.uint8))
        assert told.depth_m is not None and np.isfinite(told.depth_m).all() and (told.depth_m > 0.05).all()
        assert told.tokens.isfinite().all() and told.tokens.shape[1] == encoder.dim


@pytest.mark.slow
def test_depth_of_a_simulated_room_is_better_than_the_mean(tmp_path: Path) -> None:
    from s3d_ros.offline.simulate import SimulateConfig, simulate
    from s3d_ros.train.geometry.clips import Clip, make_clips
    from s3d_ros.train.geometry.measure import measure

    options = SimulateConfig(width=320, height=240, fps=5.0, max_duration_s=40.0, truth_images=False)
    simulate([Path("living_room")], tmp_path / "bag", seed=7, noise="none", options=options)
    (path,) = make_clips([tmp_path / "bag"], tmp_path / "clips")
    rows = measure(load_encoder("small"), [Clip.read(path)], np.full((48, 64), 2.0, np.float32))
    assert rows["encoder"]["abs_rel_scaled"] < rows["mean depth"]["abs_rel_scaled"]  # a wall in front of the camera
    assert rows["encoder"]["turn_error_deg"] < 0.5 * rows["no motion"]["turn_error_deg"]
