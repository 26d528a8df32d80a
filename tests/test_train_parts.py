"""Parts of a training run: what they may do, that they are saved and gone on with, and that the engine has them."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from part_sets import VIEWS, write_view_run, write_view_set
from safetensors.torch import load_file
from tiny_training import QWEN, make_qwen, run_config

from s3d_ros.answer import model_wire as wire
from s3d_ros.answer.choose import choose
from s3d_ros.answer.model_inbox import Inbox
from s3d_ros.answer.settings import AnswererConfig
from s3d_ros.answer.vlm import VlmAnswerer
from s3d_ros.chat import Chat, ChatError, ChatReply, Turn
from s3d_ros.keys import ConfigError
from s3d_ros.offline.run import load_scene
from s3d_ros.train.config import TrainConfig, TrainError
from s3d_ros.train.data import Samples
from s3d_ros.train.loop import train
from s3d_ros.train.model import Trainee, load
from s3d_ros.train.parts.base import RunPart
from s3d_ros.train.parts.make import make_parts
from s3d_ros.types import ErrorCode, Question
from s3d_ros.vlm.beside import needs_of, with_depth
from s3d_ros.vlm.config import ModelConfig, ModelError
from s3d_ros.vlm.engine import Asked, Engine

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    make_qwen(root)
    write_view_set(root / "set", write_view_run(root / "run"))
    return root


def config(root: Path, out: Path, **more: dict[str, Any]) -> TrainConfig:
    return run_config(root, out, {"model": {"architecture": QWEN}}, more)


def samples(root: Path, **more: dict[str, Any]) -> tuple[Samples, Any, list[RunPart]]:
    made = config(root, root / "none", **more)
    loaded = load(made.model, "float32", "cpu", lambda stage, done: None)
    held = Samples(made.data, "train", loaded.family, 0)
    held.measure(0)
    parts = make_parts(made, loaded, held, lambda what, done, total: None)
    held.use(parts)
    return held, loaded, parts


class Toy(RunPart):
    """Adds a weight to all features; its loss pulls it to what an example says."""

    name = "toy"
    wants_output = True
    told = ("toy",)

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(()))

    def example(self, example: Any) -> dict[str, torch.Tensor]:
        return {"wanted": torch.tensor(float(example.step)), "drawn": torch.from_numpy(example.rng.random(1))}

    def before(self, batch: Any, features: Any) -> Any:
        return batch, (features[0] + self.shift, *features[1:])

    def losses(self, batch: Any, features: torch.Tensor, output: torch.Tensor) -> dict[str, torch.Tensor]:
        assert output.shape[:2] == batch.ids.shape and len(features) == sum(p.tokens for p in batch.pictures)
        return {"toy": sum((self.shift - e["toy"]["wanted"]) ** 2 for e in batch.extra) / len(batch.extra)}


def test_a_part_gets_examples_changes_features_and_gives_a_loss(root: Path) -> None:
    held, loaded, _ = samples(root)
    toy = Toy()
    held.use([toy])
    batch = held.batch([0, 2], 0, step=3, number=7)
    assert [p.row for p in batch.pictures] == [0] * (VIEWS + 1) + [1] * (VIEWS + 1)  # and the bird's-eye view
    assert batch.extra[0]["toy"]["drawn"] != batch.extra[1]["toy"]["drawn"]
    again, other = held.batch([0, 2], 0, 3, 7), held.batch([0, 2], 0, 3, 8)
    assert again.extra[0]["toy"]["drawn"] == batch.extra[0]["toy"]["drawn"] != other.extra[0]["toy"]["drawn"]
    trainee = Trainee(loaded.model, loaded.family, [toy])
    answers, told = trainee(batch)
    bare, none = Trainee(loaded.model, loaded.family)(batch)
    assert answers == bare and told["toy"] == 9.0 and none == {}
    (answers + told["toy"]).backward()
    assert toy.shift.grad is not None and toy.shift.grad != -6.0  # both of it: the loss, and what the model says
    toy.shift.data.fill_(0.5)
    assert trainee(batch)[0] != bare


def test_without_parts_there_is_nothing_of_them(root: Path, tmp_path: Path) -> None:
    held, loaded, parts = samples(root)
    batch = held.batch([0], 0)
    assert parts == [] and batch.pictures == batch.extra == () and held.chat(0)[0].images[0].beside == {}
    assert all(k.startswith("model.") for k in Trainee(loaded.model, loaded.family).state_dict())
    last = train(config(root, tmp_path / "out"))
    assert not (last / "parts.json").exists() and needs_of(str(last)) == frozenset()


# --- position codes through training and answering ----------------------------------------------------------------


@pytest.fixture(scope="session")
def positioned(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(root, tmp_path_factory.mktemp("positioned"), position={"codes": True}))


def test_training_and_engine_give_the_same_features(root: Path, positioned: Path) -> None:
    held, loaded, parts = samples(root, position={"codes": True}, data={"shuffle_frames": False})
    batch = held.batch([0], 0)
    ((changed, *_),) = [parts[0].before(batch, loaded.family.encoded(batch.pixels))[1]]
    engine = Engine.of(ModelConfig(), loaded.model, loaded.processor, "cpu", [parts[0].feature_part])
    chat, _ = held.chat(0)
    asked = torch.cat([engine.family.encode(image)[0] for image in chat.images])
    assert torch.allclose(changed, asked, atol=1e-5)
    plain = loaded.family.encoded(batch.pixels)[0]
    moved = (changed - plain).abs().amax(dim=1) > 1e-3
    where = np.cumsum([0, *(p.tokens for p in batch.pictures)])
    assert not moved[where[-2] :].any()  # the bird's-eye view has no depth
    assert moved[: where[-2]].float().mean() > 0.5


def test_an_answer_depends_on_depth_also_where_it_is_kept(root: Path, positioned: Path) -> None:
    assert needs_of(str(positioned)) == frozenset({"depth"})
    engine = Engine(ModelConfig(model=str(positioned), local_only=True))
    answerer = VlmAnswerer(_Here(engine), beside=with_depth)
    scene = load_scene(root / "run")
    question = Question("Where is the chair?")
    prompt = answerer.prompter.build(question, scene).chat
    (first,), (again,) = (list(engine.ask([Asked(prompt, 1)])) for _ in range(2))
    assert isinstance(first[1], ChatReply) and again[1].reused_tokens > first[1].reused_tokens == 0
    assert again[1].confidence == pytest.approx(first[1].confidence, rel=1e-4)
    moved = [v.T_map_camera.copy() for v in scene.views]
    for T in moved:
        T[:3, 3] += (3.0, 1.0, 0.5)  # a correction: the same pictures from elsewhere
    there = _with_poses(scene, moved)
    other = answerer.prompter.build(question, there).chat
    (after,) = [e for _, e in engine.ask([Asked(other, 1)])]
    assert isinstance(after, ChatReply) and after.confidence != pytest.approx(first[1].confidence, rel=1e-4)


def _with_poses(scene: Any, poses: list[Any]) -> Any:
    from dataclasses import replace

    views = tuple(replace(v, T_map_camera=T) for v, T in zip(scene.views, poses, strict=True))
    return replace(scene, views=views, map_version=scene.map_version + 1)


class _Here:
    """A ChatModel around an engine in this process."""

    name = "here"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def missing(self) -> str:
        return ""

    def context_tokens(self) -> int:
        return self._engine.context_tokens

    def count_tokens(self, part: Any) -> int:
        return self._engine.count_tokens(part)

    def ask(self, chat: Chat, max_new_tokens: int, on_text: Any = None, cancelled: Any = None) -> ChatReply:
        (event,) = [e for _, e in self._engine.ask([Asked(chat, max_new_tokens)]) if not isinstance(e, str)]
        if isinstance(event, ChatError):
            raise event
        return event


def test_what_is_beside_a_picture_goes_to_the_models_process(root: Path) -> None:
    image = (
        VlmAnswerer(_Here(Engine.__new__(Engine)), beside=with_depth)
        .prompter.shared(load_scene(root / "run"))
        .images[0]
    )
    inbox = Inbox()
    inbox.take(pickle.loads(pickle.dumps(wire.Picture(image.key, image.pixels, image.beside))))
    chat = wire.without_pixels(Chat("", (Turn("user", (image, "What?")),)))
    assert not chat.images[0].beside
    inbox.take(wire.Warm(chat))
    (there,) = wire.with_pixels(chat, inbox._pictures).images
    assert there.beside.keys() == image.beside.keys() == {"depth_mm", "intrinsics", "T_level_camera"}
    assert np.array_equal(there.beside["depth_mm"], image.beside["depth_mm"])


def test_maps_without_depth_are_refused_in_words(root: Path, positioned: Path, tmp_path: Path) -> None:
    bare = load_scene(write_view_run(tmp_path / "bare", depth=False))
    engine = Engine(ModelConfig(model=str(positioned), local_only=True))
    answer = VlmAnswerer(_Here(engine), beside=with_depth).answer(Question("Where is it?"), bare)
    assert answer.error == ErrorCode.MODEL_FAILED and "needs the depth of each view frame, which view 1" in answer.text
    without = VlmAnswerer(_Here(engine)).answer(Question("Where is it?"), bare)  # somebody who did not look
    assert without.error == ErrorCode.MODEL_FAILED and "trained with position and needs depth" in without.text
    chat = Chat("", (Turn("user", ("Hello?",)),))
    assert isinstance(next(e for _, e in engine.ask([Asked(chat, 2)]) if not isinstance(e, str)), ChatReply)


def test_checkpoints_with_parts_unknown_here_are_refused(root: Path, positioned: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(positioned, other, ignore=shutil.ignore_patterns("state"))
    told = json.loads((other / "parts.json").read_text())
    (other / "parts.json").write_text(json.dumps({**told, "telepathy": told["position"]}))
    with pytest.raises(ModelError, match=r"trained with telepathy \(parts\.json\), which this version does not have"):
        Engine(ModelConfig(model=str(other), local_only=True))
    told["position"]["needs"] = ["smell"]
    (other / "parts.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match="needs smell of view frames"):
        choose(AnswererConfig.from_flat({"model": str(other), "answerer": "transformers"}), running=_Here(None))  # type: ignore[arg-type]
    (other / "parts.json").write_text("{")
    with pytest.raises(ModelError, match=r"parts\.json can't be read"):
        needs_of(str(other))


def test_going_on_without_a_part_is_refused(root: Path, positioned: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"was trained with position, which this config switches off"):
        train(config(root, tmp_path / "out", model={"name": str(positioned)}))


def test_sets_without_depth_are_refused_by_name(root: Path, tmp_path: Path) -> None:
    bare = write_view_set(tmp_path / "set", write_view_run(tmp_path / "run", depth=False))
    with pytest.raises(TrainError, match=r"position: one has no depth of its views 1, 2, 3;"):
        train(config(root, tmp_path / "out", data={"set": str(bare)}, position={"codes": True}))


def test_resumed_with_positions_bit_for_bit(root: Path, tmp_path: Path, positioned: Path) -> None:
    more = {"position": {"codes": True}, "run": {"save_every": 1}, "optimizer": {"steps": 2}}
    last = train(config(root, tmp_path / "out", **more))
    shutil.rmtree(last)
    again = train(config(root, tmp_path / "out", **more))
    a, b = (load_file(p / "model.safetensors") for p in (positioned, again))
    assert all(torch.equal(a[k], b[k]) for k in a)
    plain = load_file(train(config(root, tmp_path / "plain")) / "model.safetensors")
    assert not all(torch.equal(a[k], plain[k]) for k in a)
