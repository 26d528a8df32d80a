"""ROSS3D's parts through all of it: tiny models, training, resume, checkpoint, engine, pictures; what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml
from part_sets import VIEWS, write_view_run, write_view_set
from safetensors.torch import load_file
from test_train_parts import _Here
from tiny_training import make_qwen, run_config
from training_sets import packed, spoil
from typer.testing import CliRunner

from s3d_ros.answer.vlm import VlmAnswerer
from s3d_ros.chat import ChatReply
from s3d_ros.cli import app
from s3d_ros.offline.run import load_scene
from s3d_ros.train.batch import IGNORED
from s3d_ros.train.config import TrainConfig, TrainError
from s3d_ros.train.data import Samples
from s3d_ros.train.loop import train
from s3d_ros.train.model import Trainee, load
from s3d_ros.train.parts.autoencoder_train import train_autoencoder
from s3d_ros.train.parts.base import last_hidden
from s3d_ros.train.parts.make import answer_lead, begin_from, learns_pictures, make_parts, switched_on
from s3d_ros.train.parts.reconstruct import Reconstruct, visual_outputs
from s3d_ros.train.shards import join_scenes, write_scene
from s3d_ros.train.small.model import ModelShape, make_model, make_tokenizer, save_model
from s3d_ros.train.unlabelled import with_text
from s3d_ros.types import Question
from s3d_ros.vlm.beside import with_depth
from s3d_ros.vlm.config import ModelConfig
from s3d_ros.vlm.engine import Asked, Engine

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[1]
ALL = {
    "position": {"codes": True},
    "reconstruct": {"cross_view": True, "global_view": True, "every": 2, "condition": "pose", "width": 32},
    "ground": {"head": True, "width": 16},
}


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ross3d")
    make_qwen(root, tokens=20)
    write_view_set(root / "set", write_view_run(root / "run"))
    train_autoencoder(_noise(), root / "vae", 2, 0)
    return root


def _noise() -> list[Any]:
    return [torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()]


def config(root: Path, out: Path, **more: dict[str, Any]) -> TrainConfig:
    own = {"optimizer": {"steps": 3}, "reconstruct": {"vae": str(root / "vae"), "view_px": 32, "bev_px": 64}}
    return run_config(root, out, own, more)


def prepared(made: TrainConfig) -> tuple[Samples, Any, list[Any]]:
    loaded = load(made.model, "float32", "cpu", lambda stage, done: None)
    held = Samples(made.data, "train", loaded.family, 0, learns_pictures(made), answer_lead(made, loaded))
    held.measure(0)
    parts = make_parts(made, loaded, held, lambda what, done, total: None)
    held.use(parts)
    return held, loaded, parts


@pytest.fixture(scope="session")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with all three, made in one go, by an autoencoder of its own."""
    out = tmp_path_factory.mktemp("trained")
    more = {
        "reconstruct": {**ALL["reconstruct"], "vae": "", "vae_steps": 2},
        "run": {"eval_every": 3, "eval_records": 6},
    }
    return train(config(root, out, **{**ALL, **more}))


def test_all_of_it_is_trained_and_told(trained: Path) -> None:
    rows = [json.loads(line) for line in (trained.parent / "metrics.jsonl").read_text().splitlines()]
    steps, evaluated = rows[:3], rows[3]
    assert [("cross_view" in r, "global_view" in r) for r in steps] == [(True, True), (False, True), (True, True)]
    assert all(0.05 < r["global_view"] < 1 and "view" not in r for r in steps) and any("ground" in r for r in rows)
    assert 0 <= evaluated["val_ground_points"] <= 1 and evaluated["val_ground"] >= 0 and "val_loss" in evaluated
    weights = load_file(trained / "parts.safetensors")
    assert {k.split(".")[0] for k in weights} == {"reconstruct", "ground"}
    told = json.loads((trained / "parts.json").read_text())
    assert {k: v["answers"] for k, v in told.items()} == {"position": True, "reconstruct": False, "ground": False}
    assert told["reconstruct"]["settings"]["width"] == 32 and (trained / "vae" / "model.safetensors").is_file()


def test_it_is_asked_from_nothing_and_from_what_was_kept(root: Path, trained: Path) -> None:
    engine = Engine(ModelConfig(model=str(trained), local_only=True))
    scene = load_scene(root / "run")
    answerer = VlmAnswerer(_Here(engine), beside=with_depth)
    chat = answerer.prompter.build(Question("Where is the chair?"), scene).chat
    first, again = (next(e for _, e in engine.ask([Asked(chat, 12)]) if isinstance(e, ChatReply)) for _ in range(2))
    assert first.text == again.text and first.reused_tokens == 0 < again.reused_tokens
    assert "<ground>" in engine.family.processor.tokenizer.get_vocab()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(root: Path, tmp_path: Path, method: str) -> None:
    parts = ALL if method == "full" else {k: v for k, v in ALL.items() if k != "ground"}
    more = {**parts, "tune": {"method": method, "lora_rank": 4, "lora_dropout": 0.2},
            "optimizer": {"accumulate": 2, "steps": 4}, "run": {"gradient_checkpointing": True},
            "reconstruct": {**ALL["reconstruct"], "vae": "", "vae_steps": 2}}  # fmt: skip
    whole = train(config(root, tmp_path / "out", **more))
    kept = {name: load_file(whole / name) for name in ("model.safetensors", "parts.safetensors")}
    told = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    shutil.rmtree(whole)
    torch.manual_seed(99)
    again = train(config(root, tmp_path / "out", **more))
    assert again == whole
    for name, before in kept.items():
        after = load_file(again / name)
        assert after.keys() == before.keys() and all(torch.equal(after[k], before[k]) for k in after)
    drop = lambda line: {k: v for k, v in json.loads(line).items() if not k.endswith("_s")}  # noqa: E731
    assert list(map(drop, told)) == list(map(drop, (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()))


def test_the_hidden_and_the_whole_leak_into_no_condition(root: Path, tmp_path: Path) -> None:
    """What the denoiser is told depends on the views that were seen, and on nothing that it has to recover."""
    made = config(root, tmp_path, reconstruct={**ALL["reconstruct"], "condition": "frames"})
    held, loaded, (part,) = prepared(made)
    batch = held.batch([0], 0, step=0, number=0)
    hidden = batch.extra[0]["reconstruct"]["masked"].tolist()
    features = loaded.family.encoded(batch.pixels)[0].detach().requires_grad_()
    changed, given = part.before(batch, (features,))
    with last_hidden(loaded.model, True) as output:
        loaded.model(input_ids=changed.ids, position_ids=changed.positions, attention_mask=changed.mask,
                     use_cache=False, mm_token_type_ids=changed.types, **loaded.family.given(given))  # fmt: skip
    outputs, known = visual_outputs(changed, output[0])
    part.denoiser.condition("bev", outputs, known, torch.tensor([0])).square().sum().backward()
    moved = [float(g.abs().max()) for g in features.grad.split([p.tokens for p in batch.pictures])]
    assert len(hidden) == 1 and len(moved) == VIEWS + 1
    assert moved[hidden[0]] == 0 and moved[-1] == 0  # the hidden view, the view from above
    assert all(m > 0 for i, m in enumerate(moved[:-1]) if i not in hidden)
    assert part.mask_token.grad is not None and part.mask_token.grad.abs().max() > 0  # it is seen by those behind it


def test_without_losses_of_parts_the_answers_loss_is_the_bare_models(root: Path, tmp_path: Path) -> None:
    held, loaded, parts = prepared(config(root, tmp_path, reconstruct={"global_view": True, "width": 32}))
    batch = held.batch([0, 2], 0, step=1, number=1)
    answers, told = Trainee(loaded.model, loaded.family, parts)(batch)
    assert torch.equal(answers, Trainee(loaded.model, loaded.family)(batch)[0]) and list(told) == ["global_view"]


def test_reconstruction_is_learnt(root: Path, tmp_path: Path) -> None:
    """The denoiser gets better on a scene that it sees again and again, than saying nothing (1) would be."""
    more = {"cross_view": True, "global_view": True, "every": 1, "width": 64, "condition": "pose", "skip": False}
    last = train(
        config(root, tmp_path, position={"codes": True}, reconstruct=more, data={"records": 1},
               optimizer={"steps": 60, "batch_size": 1, "lr": 3e-3}, run={"save_every": 100})
    )  # fmt: skip
    rows = [json.loads(line) for line in (last.parent / "metrics.jsonl").read_text().splitlines()]
    for name in ("cross_view", "global_view"):
        assert sum(r[name] for r in rows[-15:]) < 0.8 * sum(r[name] for r in rows[:15])


def test_the_small_model_learns_likewise(root: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(2400)
    shape = ModelShape(
        tower_widths=(32, 32, 64), tower_depths=(1, 1, 1), hidden=64, layers=2, heads=2, mlp=128, vocabulary=2400
    )
    save_model(make_model(shape, tokenizer), tokenizer, tmp_path / "fast")
    more = {"model": {"name": str(tmp_path / "fast")}, "optimizer": {"steps": 2, "batch_size": 1}}
    last = train(config(root, tmp_path / "out", **{**ALL, **more}))
    engine = Engine(ModelConfig(model=str(last), local_only=True))
    chat = (
        VlmAnswerer(_Here(engine), beside=with_depth)
        .prompter.build(Question("What is it?"), load_scene(root / "run"))
        .chat
    )
    assert any(isinstance(e, ChatReply) for _, e in engine.ask([Asked(chat, 4)]))


@pytest.mark.slow
def test_two_processes_are_two_accumulated_batches(root: Path, tmp_path: Path) -> None:
    more = {**ALL, "optimizer": {"steps": 3}}
    made = config(root, tmp_path / "two", **more)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(dataclasses.asdict(made)))
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port",
                str(20000 + os.getpid() % 20000), "-m", "s3d_ros.train", str(tmp_path / "two.yaml")]  # fmt: skip
    cpu = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(launched, capture_output=True, text=True, timeout=300, env=os.environ | cpu)
    assert done.returncode == 0, done.stderr[-3000:]
    one = train(config(root, tmp_path / "one", **{**more, "optimizer": {"steps": 3, "accumulate": 2}}))
    for name in ("model.safetensors", "parts.safetensors"):
        a, b = (load_file(p / name) for p in (one, tmp_path / "two" / "step-0000003"))
        assert a.keys() == b.keys() and all(torch.allclose(a[k], b[k], atol=1e-5) for k in a)


# --- scenes without text --------------------------------------------------------------------------------------------


def test_a_share_of_the_scenes_keeps_its_texts() -> None:
    keys = [f"s{i}" for i in range(10)]
    half = with_text(keys, 0.5, 0)
    assert len(half) == 5 and half < set(keys) and with_text(keys[::-1], 0.5, 0) == half
    assert with_text(keys, 1.0, 0) == set(keys) and with_text(keys, 0.0, 3) == set()
    assert with_text(keys, 0.2, 0) < half and with_text(keys, 0.5, 1) != half


def test_scenes_without_text_are_learnt_from_by_their_pictures(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for number, (key, examples) in enumerate((("one", None), ("two", None), ("mute", ()))):
        told = {} if examples is None else {"examples": examples}
        members, summary = packed(key, root / "run", **told)
        write_scene(folder / "tmp", members)
        join_scenes([(key, folder / "tmp", summary)], folder / f"train-{number:05d}.tar")
    on = {"global_view": True, "cross_view": True, "width": 32}
    made = config(root, tmp_path / "out", data={"set": str(folder), "text_share": 0.5}, reconstruct=on)
    held, loaded, parts = prepared(made)
    quiet = [i for i in held.indices if i < 0]
    asked = [i for i in held.indices if i >= 0]
    records = len(asked)
    assert {held.records[i].scene.key for i in asked} == with_text(["one", "two"], 0.5, 0)
    assert len(quiet) == 2 * records and len(set(quiet)) == 2  # the one whose text is left out, and the mute one
    sample = held.sample(quiet[0])
    assert (sample.labels == IGNORED).all() and len(sample.images) == VIEWS + 1
    text = loaded.processor.tokenizer.decode(sample.ids[sample.types == 0])
    assert "chair" not in text and "?" not in text
    assert {i for b in held.batches(0, 2) for i in b} == set(held.indices)
    answers, losses = Trainee(loaded.model, loaded.family, parts)(held.batch(quiet[:2], 0, step=0, number=3))
    assert float(answers) == 0 and set(losses) == {"cross_view", "global_view"}
    plain = Samples(made.data, "train", loaded.family, 0)  # as for evaluation: text of all
    assert len(plain.indices) == 2 * records
    last = train(made)
    assert last.name == "step-0000003"


# --- pictures -------------------------------------------------------------------------------------------------------


def test_what_is_recovered_is_drawn(root: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen.png"
    done = CliRunner().invoke(app, ["train-draw", str(trained), "--out", str(out), "--steps", "2"])
    assert done.exit_code == 0, done.output
    assert "scene 1: mean error of 255: view" in done.output and "bev" in done.output
    picture = cv2.imread(str(out))
    assert picture.shape[1] > 1000 and len({tuple(p) for p in picture[30:200:7, ::13].reshape(-1, 3)}) > 20
    again = CliRunner().invoke(app, ["train-draw", str(trained), "--out", str(tmp_path / "b.png"), "--steps", "2"])
    assert again.output.splitlines()[:-1] == done.output.splitlines()[:-1]
    plain = tmp_path / "plain"
    shutil.copytree(trained, plain, ignore=shutil.ignore_patterns("state"))
    kept = yaml.safe_load((plain / "train.yaml").read_text())
    kept["reconstruct"]["cross_view"] = kept["reconstruct"]["global_view"] = False
    (plain / "train.yaml").write_text(yaml.safe_dump(kept))
    refused = CliRunner().invoke(app, ["train-draw", str(plain)])
    assert refused.exit_code == 2 and "nothing to draw" in refused.output
    refused = CliRunner().invoke(app, ["train-draw", str(root / "qwen2_5_vl")])
    assert refused.exit_code == 2 and "is no checkpoint of s3d train" in refused.output


def test_the_autoencoders_command(root: Path, tmp_path: Path) -> None:
    command = ["train-vae", str(root / "set"), "--out", str(tmp_path / "vae"), "--steps", "2", "--view-px", "64"]
    done = CliRunner().invoke(app, [*command, "--bev-px", "64"])
    assert done.exit_code == 0 and "6 pictures" in done.output, done.output
    assert (tmp_path / "vae" / "config.json").is_file()
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2 and "is there already" in refused.output


# --- what is refused ------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, dict[str, Any]], str]] = [
    ({"data": {"text_share": 0.5}}, r"data\.text_share = 0\.5 leaves scenes without text.*reconstruct\.cross_view or"),
    ({"reconstruct": {"global_view": True, "bev_px": 100}}, r"reconstruct\.bev_px = 100 is no multiple of 16"),
    ({"reconstruct": {"cross_view": True, "width": 100}}, r"reconstruct\.width = 100 is no multiple of 32"),
    ({"reconstruct": {"global_view": True, "condition": "pose"}}, r"condition = pose is of use with .*cross_view only"),
    (
        {"reconstruct": {"cross_view": True, "condition": "pose"}},
        r"set position\.codes to true, or condition to frames",
    ),
    ({"reconstruct": {"global_view": True, "vae": "/nowhere"}}, r"reconstruct\.vae: /nowhere holds no config\.json"),
    ({"reconstruct": {"global_view": True, "flops_share": 0.001}}, r"above reconstruct\.flops_share = 0\.001; make"),
    ({"ground": {"head": True}, "tune": {"method": "lora"}}, r"ground\.head = true needs tune\.method = full"),
]


@pytest.mark.parametrize(("more", "said"), REFUSED)
def test_bad_switches_are_refused_before_the_first_step(
    root: Path, tmp_path: Path, more: dict[str, dict[str, Any]], said: str
) -> None:
    with pytest.raises(TrainError, match=said):
        train(config(root, tmp_path / "out", **more))
    assert not (tmp_path / "out").exists()


def test_sets_without_what_is_recovered_are_refused(root: Path, tmp_path: Path) -> None:
    one = write_view_set(tmp_path / "one", write_view_run(tmp_path / "run", count=1))
    with pytest.raises(TrainError, match=r"cross_view: no scene has two view frames"):
        train(config(root, tmp_path / "out", data={"set": str(one)}, reconstruct={"cross_view": True}))
    shutil.copytree(root / "set", tmp_path / "set")

    def without(data: dict[str, Any], members: dict[str, bytes]) -> None:
        data["bevs"] = {}
        for told in data["conversations"]:
            told["images"].pop()
            told["conversations"][0]["value"] = told["conversations"][0]["value"].replace("<image>\n", "", 1)

    spoil(tmp_path / "set", without)
    with pytest.raises(TrainError, match=r"global_view: one has no bird's-eye view; build the set with prompt\.bev"):
        train(config(root, tmp_path / "out", data={"set": str(tmp_path / "set")}, reconstruct={"global_view": True}))


def test_other_parts_are_another_run(root: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained.parent, tmp_path / "out")
    more = {**ALL, "reconstruct": {**ALL["reconstruct"], "vae": "", "vae_steps": 2, "mask_share": 0.5}}
    with pytest.raises(TrainError, match=r"made with other values of reconstruct\.mask_share"):
        train(config(root, tmp_path / "out", **more))
    _, _, parts = prepared(config(root, trained, **{**ALL, "model": {"name": str(trained)}}))
    begin_from(parts, trained)
    (part,) = (p for p in parts if isinstance(p, Reconstruct))
    kept = load_file(trained / "parts.safetensors")
    assert torch.equal(part.mask_token, kept["reconstruct.mask_token"])
    assert switched_on(TrainConfig()) == []


def test_the_published_recipe_switches_all_on() -> None:
    made = TrainConfig.from_yaml(ROOT / "config/train/ross3d.yaml")
    assert switched_on(made) == ["position", "reconstruct", "ground"]
    asked = made.reconstruct
    assert (asked.every, asked.mask_share, asked.bev_px, asked.width, asked.condition) == (4, 0.25, 432, 1024, "frames")
    assert (made.optimizer.lr, made.optimizer.warmup, asked.cross_weight, asked.global_weight) == (1e-5, 0.03, 1.0, 1.0)
