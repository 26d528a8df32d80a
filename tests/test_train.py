"""A tiny Qwen2.5-VL through all of it: records, training, checkpoint, engine, the answer; and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_training import QWEN, make_qwen, run_config
from tiny_vlm import make_tiny
from training_sets import write_run, write_set
from typer.testing import CliRunner

from s3d_ros.answer.settings import AnswererConfig
from s3d_ros.chat import Chat, ChatImage, ChatReply, Turn
from s3d_ros.cli import app
from s3d_ros.keys import ConfigError
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.train.config import TrainConfig, TrainError
from s3d_ros.train.data import IGNORED, Batch, Samples, shuffled
from s3d_ros.train.evaluation import points
from s3d_ros.train.loop import train
from s3d_ros.train.model import Trainee, load
from s3d_ros.train.problems import DatasetError
from s3d_ros.train.settings import BuildSettings
from s3d_ros.train.sharegpt import chat_parts, share_gpt
from s3d_ros.vlm.config import ModelConfig
from s3d_ros.vlm.engine import Asked, Engine

torch.set_num_threads(1)
FAMILIES = (QWEN, "qwen3_vl", "smolvlm", "llava_onevision", "internvl", "gemma3")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("train")
    make_qwen(root)
    for family in FAMILIES[1:]:
        make_tiny(family, root / family)
    write_set(root / "set", write_run(root / "run"))
    return root


def config(root: Path, out: Path, **more: dict[str, Any]) -> TrainConfig:
    return run_config(root, out, {"model": {"architecture": QWEN}, "optimizer": {"steps": 4}}, more)


def samples(root: Path, family: str = "qwen2_5_vl", **keys: Any) -> tuple[Samples, Any]:
    made = config(root, root / "none", model={"name": str(root / family), "architecture": family}, data=keys)
    loaded = load(made.model, "float32", "cpu", lambda stage, done: None)
    return Samples(made.data, "train", loaded.family, 0), loaded


def _loss(loaded: Any, batch: Batch) -> float:
    return float(Trainee(loaded.model, loaded.family)(batch)[0].detach())


# --- data ---------------------------------------------------------------------------------------------------------


def test_a_record_becomes_the_chat_that_it_was_made_of() -> None:
    images = [ChatImage(f"k{i}", np.full((2, 2, 3), i, np.uint8)) for i in range(3)]
    parts = ("Frame 1, 0.0 s:", images[0], images[1], "Seen from above:", images[2], "Which?\nA. left\nB. right")
    record = share_gpt(Chat("Be brief.", (Turn("user", parts),)), "A", lambda image: image.key)
    (human, _) = record["conversations"]
    assert chat_parts(human["value"], iter(images)) == parts and record["images"] == ["k0", "k1", "k2"]


def test_frames_are_shuffled_with_their_captions_and_the_overview_stays() -> None:
    images = [ChatImage(f"s.view{i:04d}.marked.jpg", np.zeros((2, 2, 3), np.uint8)) for i in range(8)]
    bev = ChatImage("s.bev.marked.png", np.zeros((2, 2, 3), np.uint8))
    parts = [p for i, image in enumerate(images) for p in (f"Frame {i}:", image)]
    chat = Chat("", (Turn("user", (*parts, "From above:", bev, "Where?")),))
    other = shuffled(chat, np.random.default_rng(0)).turns[0].parts
    pairs = list(zip(other[0:16:2], other[1:16:2], strict=True))
    assert other[16:] == ("From above:", bev, "Where?") and list(other) != list(chat.turns[0].parts)
    assert sorted(pairs, key=lambda p: str(p[0])) == [(f"Frame {i}:", images[i]) for i in range(8)]


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_are_the_engines_and_only_the_answer_is_learnt(root: Path, family: str) -> None:
    made, loaded = samples(root, family, shuffle_frames=False)
    engine = Engine.of(ModelConfig(), loaded.model, loaded.processor, "cpu")
    tokenizer = loaded.processor.tokenizer
    for index in (0, 2, 7):  # q1, grounding, one with a bird's-eye view of its own
        chat, answer = made.chat(index)
        sample, asked = made.sample(index), engine.prompts.make(chat)
        n = len(asked)
        assert sample.ids[:n].tolist() == asked.ids.tolist() and (sample.labels[:n] == IGNORED).all()
        assert sample.labels[n:].tolist() == sample.ids[n:].tolist()
        assert tokenizer.decode(sample.ids[n:-1]).strip() == answer
        assert sample.ids[-1] == loaded.model.generation_config.eos_token_id
        assert sample.positions[:, :n].tolist() == engine.family.positions(asked).tolist()
    lone = [_loss(loaded, made.batch([i], 0)) for i in (0, 2)]
    both = _loss(loaded, made.batch([0, 2], 0))
    assert len(made.sample(0).ids) != len(made.sample(2).ids) and both == pytest.approx(sum(lone), rel=1e-4)


def test_the_loss_is_what_transformers_own_forward_gives(root: Path) -> None:
    made, loaded = samples(root, shuffle_frames=False)
    chat, _ = made.chat(0)
    sample = made.sample(0)
    pixels = loaded.processor.image_processor([i.pixels for i in chat.images], return_tensors="pt")
    types = torch.from_numpy(sample.types)[None]
    output = loaded.model(
        input_ids=torch.from_numpy(sample.ids)[None],
        labels=torch.from_numpy(sample.labels)[None],
        mm_token_type_ids=types,
        attention_mask=torch.ones_like(types),
        **pixels,
    )
    answer_tokens = int((sample.labels != IGNORED).sum())
    mine = _loss(loaded, made.batch([0], 0))
    assert mine == pytest.approx(float(output.loss.detach()) * answer_tokens, rel=1e-5)


def test_batches_hold_every_record_once_and_alike_lengths(root: Path) -> None:
    made, _ = samples(root, buckets=4)
    made.measure(0)
    batches = made.batches(3, 2)
    assert sorted(i for b in batches for i in b) == list(range(8)) and batches == made.batches(3, 2)
    assert batches != made.batches(4, 2)
    by_length = sorted(made.lengths.values())
    assert sorted(tuple(sorted(made.lengths[i] for i in b)) for b in batches) == sorted(
        zip(by_length[::2], by_length[1::2], strict=True)
    )
    assert {i: len(made.sample(i).ids) for i in range(8)} == made.lengths  # told without pictures


# --- the run ------------------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(root: Path, tmp_path: Path, method: str) -> None:
    more = {
        "tune": {"method": method, "lora_rank": 4, "lora_dropout": 0.2},
        "optimizer": {"accumulate": 2, "steps": 5},
        "run": {"save_every": 3, "eval_every": 2, "eval_records": 1},
    }
    whole = train(config(root, tmp_path / "whole", **more))

    def kill(what: str, done: int, total: int) -> None:
        if what.startswith("loss") and done == 4:  # an epoch is 2 steps: it goes on within one
            raise Killed

    broken = config(root, tmp_path / "broken", **more)
    with pytest.raises(Killed):
        train(broken, kill)
    assert [p.name for p in (tmp_path / "broken").glob("step-*")] == ["step-0000003"]
    torch.manual_seed(99)
    resumed = train(broken)
    assert resumed.name == whole.name == "step-0000005"
    for name in ("model.safetensors", "state/model.safetensors"):
        a, b, before = (load_file(p / name) for p in (whole, resumed, tmp_path / "broken" / "step-0000003"))
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
        assert not all(torch.equal(a[k], before[k]) for k in a)

    def told(out: str) -> list[dict[str, Any]]:
        rows = map(json.loads, (tmp_path / out / "metrics.jsonl").read_text().splitlines())
        return [{k: v for k, v in row.items() if not k.endswith("_s")} for row in rows]

    assert told("whole") == told("broken") and len(told("whole")) == 8
    assert (tmp_path / "broken" / "loss.png").stat().st_size > 5000


def test_accumulated_batches_are_one_large_batch(root: Path, tmp_path: Path) -> None:
    one = {"steps": 1, "batch_size": 8}
    four = {"steps": 1, "batch_size": 2, "accumulate": 4}
    told = []
    for name, keys in (("one", one), ("four", four)):
        train(config(root, tmp_path / name, optimizer=keys, data={"shuffle_frames": False}))
        told.append(json.loads((tmp_path / name / "metrics.jsonl").read_text()))
    for key in ("loss", "grad_norm"):
        assert told[0][key] == pytest.approx(told[1][key], rel=1e-4)
    assert told[0]["answer_tokens"] == told[1]["answer_tokens"]


def test_what_is_frozen_stays_and_adapters_are_merged(root: Path, tmp_path: Path) -> None:
    before = load_file(root / "qwen2_5_vl" / "model.safetensors")
    frozen = load_file(train(config(root, tmp_path / "a", tune={"vision": False})) / "model.safetensors")
    moved = {k for k in before if not torch.equal(before[k], frozen[k])}
    assert frozen.keys() == before.keys() and any("merger" in k for k in moved)
    assert moved and not [k for k in moved if "visual" in k and "merger" not in k]
    lora = load_file(train(config(root, tmp_path / "b", tune={"method": "lora", "lora_rank": 4})) / "model.safetensors")
    moved = {k for k in before if not torch.equal(before[k], lora[k])}
    assert lora.keys() == before.keys() and {k.split(".")[-2] for k in moved} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert not [k for k in moved if "visual" in k]


def test_a_checkpoint_is_asked_as_it_was_taught(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "set", tmp_path / "set")
    taught = BuildSettings(prompt=PromptConfig(wording="fine-tuned", captions=False, bev_px=512)).plain()
    (tmp_path / "set" / "card.json").write_text(json.dumps({"settings": taught}))
    last = train(config(root, tmp_path / "out", optimizer={"steps": 1}, data={"set": str(tmp_path / "set")}))
    asked = AnswererConfig.from_flat({"model": str(last), "prompt.bev_px": 640}).prompt
    assert asked == PromptConfig(wording="fine-tuned", captions=False, bev_px=640)
    assert AnswererConfig.from_flat({"model": str(root / "qwen2_5_vl")}).prompt == PromptConfig()
    (last / "prompt.json").write_text("{")
    with pytest.raises(ConfigError, match=r"prompt\.json can't be read"):
        AnswererConfig.from_flat({"model": str(last)})


@pytest.mark.slow
def test_two_processes_are_two_accumulated_batches(root: Path, tmp_path: Path) -> None:
    made = config(root, tmp_path / "two", optimizer={"steps": 2})
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(dataclasses.asdict(made)))
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port",
                str(20000 + os.getpid() % 20000), "-m", "s3d_ros.train", str(tmp_path / "two.yaml")]  # fmt: skip
    cpu = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(launched, capture_output=True, text=True, timeout=300, env=os.environ | cpu)
    assert done.returncode == 0, done.stderr[-3000:]
    one = train(config(root, tmp_path / "one", optimizer={"steps": 2, "accumulate": 2}))
    a, b = (load_file(p / "model.safetensors") for p in (one, tmp_path / "two" / "step-0000002"))
    assert a.keys() == b.keys() and all(torch.allclose(a[k], b[k], atol=1e-5) for k in a)


@pytest.mark.slow
def test_eight_examples_are_learnt_exactly_and_asked_by_the_engine(root: Path, tmp_path: Path) -> None:
    made = config(
        root, tmp_path / "out", data={"val_split": "train", "shuffle_frames": False},
        optimizer={"steps": 150, "batch_size": 8, "lr": 3e-3, "warmup": 0.1},
        run={"save_every": 1000, "eval_every": 150, "eval_records": 8, "gradient_checkpointing": True},
    )  # fmt: skip
    last = train(made)
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] > 3 and rows[-2]["loss"] < 0.1 and rows[-1]["points"] == 1.0
    engine = Engine(ModelConfig(model=str(last), local_only=True))
    data = Samples(made.data, "train", engine.family, 0)
    right, said = [], []
    for again in range(2):  # the second time from what was kept
        for index in range(8):
            chat, answer = data.chat(index)
            shared = Chat(chat.system, chat.turns, len(chat.turns[0].parts) - 1)
            (reply,) = [e for _, e in engine.ask([Asked(shared, 40)]) if isinstance(e, ChatReply)]
            assert not again or reply.reused_tokens > 0
            said.append(reply.text)
            right.append(answer)
    assert said == right


# --- what is refused ----------------------------------------------------------------------------------------------


def test_points(root: Path) -> None:
    made, _ = samples(root)
    of = {made.records[i].id: made.records[i] for i in range(8)}
    assert points(of["q1"], "a chair") == 1 and points(of["q1"], "a table") == 0
    assert points(of["q2"], "(A) 2") == 1 and points(of["q2"], "B") == 0  # options 2 and 3
    assert points(of["q3"], "OBJ 1") == 1 and points(of["q3"], "") == 0
    assert points(of["q4"], "Yes. <OBJ001>.") == pytest.approx(2 / 3) and points(of["q5"], "No.") == 1


REFUSED: list[tuple[dict[str, dict[str, Any]], type[Exception], str]] = [
    ({"run": {"rates": 1}}, ConfigError, r"unknown config key 'run\.rates'"),
    ({"optimizer": {"lr": "fast"}}, ConfigError, r"optimizer\.lr must be float, not 'fast'"),
    ({"model": {"architecture": "qwen3_vl"}}, TrainError, r"model\.architecture is qwen3_vl, but .* is a qwen2_5_vl"),
    ({"model": {"name": "/nowhere"}}, TrainError, r"model\.name: no such directory: /nowhere"),
    ({"data": {"set": "/nowhere"}}, DatasetError, r"/nowhere holds no shards"),
    ({"data": {"set": ""}}, TrainError, r"data\.set is empty"),
    ({"data": {"split": "test"}}, DatasetError, r"no split 'test'; it has train, val"),
    ({"data": {"max_answer_tokens": 3}}, TrainError, r"one/q\d: its answer has \d+ tokens, data\.max_answer_tokens is"),
    ({"data": {"max_tokens": 30}}, TrainError, r"one/q1 has \d+ tokens, data\.max_tokens is 30"),
    ({"run": {"precision": "bf16"}}, TrainError, r"run\.precision = bf16 can't be: the CPU"),
    ({"run": {"device": "tpu"}}, TrainError, r"run\.device = 'tpu' is none of"),
    ({"model": {"attention": "flash_attention_2"}}, TrainError, r"flash_attention_2 needs a GPU"),
    ({"run": {"out": ""}}, TrainError, r"run\.out is empty"),
]


@pytest.mark.parametrize(("more", "error", "said"), REFUSED)
def test_bad_configs_are_refused_before_the_first_step(
    root: Path, tmp_path: Path, more: dict[str, dict[str, Any]], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        train(config(root, tmp_path / "out", **more), lambda what, done, total: _no_step(what))
    assert not (tmp_path / "out").exists()


def _no_step(what: str) -> None:
    assert not what.startswith("loss")


def test_too_long_ones_may_be_left_out(root: Path) -> None:
    made, _ = samples(root, too_long="leave_out", max_answer_tokens=8)
    made.measure(0)
    kept = {made.records[i].id for i in made.indices}
    assert kept < {"q1", "q2", "q3", "q4", "q5", "q7", "q8", "q9"} and "q4" not in kept and "q2" in kept


def test_missing_shards_and_wrong_checkpoints_are_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "set", tmp_path / "set")
    (tmp_path / "set" / "train-00000.tar").unlink()
    with pytest.raises(DatasetError, match=r"train-00000\.tar"):
        train(config(root, tmp_path / "out", data={"set": str(tmp_path / "set")}))

    (tmp_path / "set" / "train-00000.json").unlink()  # nothing but the card knows of it now
    card = {"splits": {"train": {"shards": ["train-00000.tar"]}, "val": {"shards": ["val-00001.tar"]}}}
    (tmp_path / "set" / "card.json").write_text(json.dumps(card))
    with pytest.raises(TrainError, match=r"lacks train-00000\.tar, train-00000\.json, which its card\.json lists"):
        train(config(root, tmp_path / "out", data={"set": str(tmp_path / "set"), "split": "val"}))

    made = config(root, tmp_path / "out", optimizer={"steps": 1})
    last = train(made)
    with pytest.raises(TrainError, match=r"made with other values of optimizer\.lr; take another run\.out"):
        train(config(root, tmp_path / "out", optimizer={"steps": 1, "lr": 1e-4}))
    other = config(
        root, tmp_path / "out", model={"name": str(root / "qwen3_vl"), "architecture": ""}, optimizer={"steps": 1}
    )
    with pytest.raises(TrainError, match=r"another architecture than model\.name: model_type qwen2_5_vl, not qwen3_vl"):
        train(other)
    weights = last / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(TrainError, match="is damaged"):
        train(made)
    weights.unlink()
    with pytest.raises(TrainError, match="no weights in"):
        train(made)


def test_the_command(root: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["train", str(ROOT / "config/train/smoke.yaml"), "--set", "run.rate=1"])
    assert said.exit_code == 2 and "unknown config key 'run.rate'" in said.output
    done = CliRunner().invoke(
        app,
        ["train", str(ROOT / "config/train/smoke.yaml"), "-s", f"model.name={root / 'qwen2_5_vl'}",
         "-s", f"data.set={root / 'set'}", "-s", f"run.out={tmp_path / 'out'}", "-s", "optimizer.steps=2"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "s3d ask RUN QUESTION --model" in done.output
    assert (tmp_path / "out" / "step-0000002" / "config.json").is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "config/train").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configs_are_read(path: Path) -> None:
    assert TrainConfig.from_yaml(path).optimizer.lr > 0
    assert TrainConfig.from_yaml(path, {"optimizer.lr": "1e-5"}).optimizer.lr == 1e-5
