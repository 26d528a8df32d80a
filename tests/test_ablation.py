"""The grid of ablations: what arms set, that it goes on, and that its table says what the scores say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import QWEN, make_qwen, run_config
from training_sets import write_run, write_set
from typer.testing import CliRunner

from s3d_ros.cli import app
from s3d_ros.train.ablation import run as running
from s3d_ros.train.ablation.grid import ARMS, COMPARISONS, MORE_ARMS, UNTRAINED, WITH, WITHOUT, Arm, Comparison, chosen
from s3d_ros.train.ablation.guessing import guessed
from s3d_ros.train.ablation.run import RUNS, SCORES, run_grid
from s3d_ros.train.ablation.table import compared, difference, draw, markdown, plain, read_results, spread
from s3d_ros.train.config import TrainConfig, TrainError
from s3d_ros.train.reader import TrainingSet

torch.set_num_threads(1)
TWO = (chosen(["plain"])[0], chosen(["global"])[0])


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ablation")
    make_qwen(root)
    write_set(root / "set", write_run(root / "run"))
    return root


def common(root: Path, **data: Any) -> TrainConfig:
    small = {"view_px": 32, "bev_px": 32, "vae_steps": 1, "width": 32}
    return run_config(root, root, {"data": {"together": 2, **data}, "reconstruct": small, "optimizer": {"steps": 1}})


def ran(root: Path, out: Path, arms: tuple[Arm, ...] = TWO, seeds: int = 1, **data: Any) -> list[str]:
    said: list[str] = []
    run_grid(common(root, **data), arms, seeds, out, lambda what, done, total: None, said.append)
    return [text.partition(":")[0] for text in said]


def test_each_arm_is_another_run_and_is_what_its_name_says(root: Path) -> None:
    made = {arm.name: arm.config(common(root), 3, "out") for arm in (*ARMS, *MORE_ARMS)}
    names = list(made)
    for k, name in enumerate(names):
        assert made[name].run.seed == 3
        assert all(made[name].differences(made[other]) for other in names[k + 1 :])
    assert made["marked"].differences(common(root)) == ["run.seed"]
    assert not made["plain"].data.marked and not made["plain"].data.bev
    assert made["both"].reconstruct.cross_view and made["both"].reconstruct.global_view
    assert made["geometry"].geometry.encoder == "small"
    half, unlabelled = made["half"], made["unlabelled"]  # the same steps, of which half are about text
    assert half.data.text_share == unlabelled.data.text_share == 0.5
    assert half.reconstruct.global_weight == 0 and not half.reconstruct.cross_view
    assert unlabelled.reconstruct.global_weight == unlabelled.reconstruct.cross_weight == 1


def test_what_is_compared_is_asked() -> None:
    asked = {(arm.name, sight) for arm in (*ARMS, *MORE_ARMS) for sight in arm.asked}
    asked |= {(UNTRAINED, WITH), (UNTRAINED, WITHOUT)}
    assert all({one.one, one.other} <= asked for one in COMPARISONS)


def test_an_unknown_arm_is_refused_by_name() -> None:
    with pytest.raises(TrainError, match="no arm 'bef'; there are plain, marked"):
        chosen(["marked", "bef"])


def test_a_killed_grid_goes_on_and_keeps_what_is_finished(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = running.train

    def killed(config: TrainConfig, progress: Any) -> Path:
        if "global-0" in config.run.out:
            raise KeyboardInterrupt
        return real(config, progress)

    monkeypatch.setattr(running, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        ran(root, tmp_path)
    kept = (tmp_path / RUNS / "plain-0" / SCORES).read_bytes()
    monkeypatch.setattr(running, "train", real)
    assert ran(root, tmp_path) == ["global-0"]
    assert (tmp_path / RUNS / "plain-0" / SCORES).read_bytes() == kept
    assert ran(root, tmp_path) == []
    told = json.loads(kept)
    assert list(told["asked"]) == [WITH, WITHOUT] and told["steps"] == 1 and told["losses"]["loss"][0] > 0
    assert len(told["asked"][WITH]) == len(TrainingSet(root / "set", "val"))
    assert "global_view" in json.loads((tmp_path / RUNS / "global-0" / SCORES).read_text())["losses"]
    assert not list(tmp_path.glob("runs/*/step-*/state"))
    with pytest.raises(TrainError, match="untrained was made with another config, model or number"):
        ran(root, tmp_path, max_answer_tokens=41)
    results = read_results(tmp_path, TWO, 1)
    assert list(results) == [
        (UNTRAINED, WITH),
        (UNTRAINED, WITHOUT),
        ("plain", WITH),
        ("plain", WITHOUT),
        ("global", WITH),
    ]
    guess = guessed(TrainingSet(root / "set", "train"), TrainingSet(root / "set", "val"))
    assert guess["object"].mean == 1.0  # the only answer in training is that of the held-out twin
    assert guess["object_counting"].mean == 0.5  # two options
    draw(results, TWO, guess, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 1000
    named = ["train-ablate", str(root / "set"), "--model", str(root / QWEN), "--out", str(tmp_path), "--table"]
    shown = CliRunner().invoke(app, [*named, "--arms", "plain,global", "--seeds", "1"])
    assert shown.exit_code == 0 and (tmp_path / "table.md").read_text() in shown.output
    assert {row["trained"] for row in json.loads((tmp_path / "table.json").read_text())["arms"]} == {
        UNTRAINED, "plain", "global"}  # fmt: skip
    nothing = CliRunner().invoke(app, [*named[:-2], str(tmp_path / "none"), "--table"])
    assert nothing.exit_code != 0


def test_a_checkpoint_of_a_grid_asks_without_the_view_from_above_as_it_was_taught(root: Path, tmp_path: Path) -> None:
    ran(root, tmp_path, TWO[:1])
    (last,) = tmp_path.glob("runs/plain-0/step-*")
    kept = TrainConfig.from_yaml(last / "train.yaml")
    assert not kept.data.bev and kept.model.name == str(root / QWEN)


def _write(out: Path, name: str, points: dict[str, dict[str, list[float]]]) -> None:
    """points: sight -> kind -> of each question."""
    asked = {
        sight: [
            {"id": f"{kind}-{k}", "kind": kind, "points": p} for kind, held in kinds.items() for k, p in enumerate(held)
        ]
        for sight, kinds in points.items()
    }
    (out / RUNS / name).mkdir(parents=True)
    told = {"arm": name, "limit": 0, "steps": 10, "step_s": 20.0, "losses": {"loss": [2.0, 1.0]}, "asked": asked}
    (out / RUNS / name / SCORES).write_text(json.dumps(told))


def test_the_table_is_right_for_known_scores(tmp_path: Path) -> None:
    arms = (Arm("plain", "plain frames"), Arm("marked", "markers + BEV"))
    for seed, (low, high) in enumerate([([0, 0, 0, 1], [1, 1, 0, 1]), ([0, 0, 1, 1], [1, 1, 1, 1])]):
        _write(tmp_path, f"plain-{seed}", {WITH: {"left_right": low, "count named": [1]}})
        _write(tmp_path, f"marked-{seed}", {WITH: {"left_right": high, "count named": [0]}})
    results = read_results(tmp_path, arms, 3)  # the third seed is not there yet
    assert list(results) == [("plain", WITH), ("marked", WITH)]
    told = spread(results["plain", WITH].of(["by number"]))
    assert told.mean == pytest.approx((0.25 + 0.5) / 2) and told.questions == 4
    assert told.sd == pytest.approx(math.sqrt(2) * 0.125)
    assert told.error == pytest.approx(np.std([0, 0, 0.5, 1], ddof=1) / 2)
    one = Comparison(("marked", WITH), ("plain", WITH), "better")
    ((_, found),) = compared(results, "by number", [one])
    assert found.mean == pytest.approx(0.5) and found.seeds == pytest.approx((0.5, 0.5))
    assert results["marked", WITH].step_s == 2.0
    guess = {name: spread(np.full((1, n), 0.5)) for name, n in (("by number", 4), ("by name", 0), ("legend", 1))}
    guess |= {"frames": spread(np.zeros((1, 0))), "left_right": guess["by number"], "count named": guess["legend"]}
    text = markdown(results, arms, guess)
    assert "| plain frames | with | 37.5 +- 17.7 (23.9) | 100.0 +- 0.0" in text
    assert "| markers + BEV | with | 87.5 +- 17.7 (12.5) | 0.0 +- 0.0" in text
    assert "| left_right (4) | 38 | 88 | 50 |" in text
    assert json.loads(json.dumps(plain(results, guess)))["arms"][0]["points"]["by number"]["questions"] == 4


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (np.ones((3, 50)), np.zeros((3, 50)), "better"),
        (np.zeros((3, 50)), np.ones((3, 50)), "worse"),
        (np.eye(3, 50), np.zeros((3, 50)), "no difference visible"),  # one question, another with each seed
        (np.repeat([[1.0], [1.0], [0.0]], 50, axis=1), np.full((3, 50), 0.4), "no difference visible"),  # one against
        (np.zeros((3, 0)), np.zeros((3, 0)), "not asked"),
    ],
)  # fmt: skip
def test_a_difference_is_visible_where_all_seeds_show_it_beyond_its_error(one: Any, other: Any, verdict: str) -> None:
    assert difference(one, other).verdict == verdict
