"""Geometry tokens in a model that sees: fused in training as in answering, and right from what was kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from part_sets import VIEWS, write_view_run, write_view_set
from safetensors.torch import load_file, save_file
from tiny_geometry import make_tiny_encoder
from tiny_training import QWEN, make_qwen, run_config
from tiny_vlm import make_tiny

from s3d_ros.answer.vlm import VlmAnswerer
from s3d_ros.chat import Chat, ChatImage, ChatReply, Turn
from s3d_ros.geometry_tokens.choose import load_encoder
from s3d_ros.geometry_tokens.fusion import GeometryFusion
from s3d_ros.offline.run import load_scene
from s3d_ros.train.config import TrainConfig, TrainError
from s3d_ros.train.data import Samples
from s3d_ros.train.loop import train
from s3d_ros.train.model import Trainee, load
from s3d_ros.train.parts.make import make_parts
from s3d_ros.train.small.model import ModelShape, make_model, make_tokenizer, save_model
from s3d_ros.types import Question
from s3d_ros.vlm.beside import with_depth
from s3d_ros.vlm.config import ModelConfig, ModelError
from s3d_ros.vlm.engine import Asked, Engine
from s3d_ros.vlm.geometry import GeometryTokens, is_frame

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fusion")
    make_qwen(root)
    make_tiny_encoder(root / "encoder")
    write_view_set(root / "set", write_view_run(root / "run"))
    return root


def config(root: Path, out: Path, model: str = QWEN, **more: dict[str, Any]) -> TrainConfig:
    own: dict[str, dict[str, Any]] = {
        "model": {"name": str(root / model)},
        "data": {"shuffle_frames": False},
        "optimizer": {"steps": 3, "lr": 3e-3},
        "geometry": {"encoder": str(root / "encoder")},
        "run": {"save_every": 3},
    }
    return run_config(root, out, own, more)


@pytest.fixture(scope="session")
def tuned(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(root, tmp_path_factory.mktemp("tuned")))


def opened(root: Path, model: Path | None = None) -> tuple[Samples, Any, Any]:
    made = config(root, root / "none", model=str(model or "qwen2_5_vl"))
    loaded = load(made.model, "float32", "cpu", lambda stage, done: None)
    held = Samples(made.data, "train", loaded.family, 0)
    held.measure(0)
    (part,) = make_parts(made, loaded, held, lambda what, done, total: None)
    held.use([part])
    return held, loaded, part


# --- the fusion itself --------------------------------------------------------------------------------------------


def test_a_fresh_fusion_changes_nothing_and_a_trained_one_only_its_own_frame() -> None:
    torch.manual_seed(0)
    fusion = GeometryFusion(width=12, dim=8)
    assert fusion.heads == 1 and GeometryFusion(1152, 8).heads == 18
    vision, geometry = torch.randn(3, 5, 12), [torch.randn(7, 8), None, torch.randn(4, 8)]
    assert torch.equal(fusion(vision, geometry), vision)
    torch.nn.init.ones_(fusion.norm_out.weight)
    out = fusion(vision, geometry)
    assert torch.equal(out[1], vision[1]) and not torch.allclose(out[0], vision[0])
    other = fusion(vision, [geometry[0], None, torch.randn(4, 8)])
    assert torch.equal(other[0], out[0]) and not torch.allclose(other[2], out[2])
    swapped = fusion(vision, [geometry[0].flip(0), None, geometry[2]])
    assert torch.allclose(swapped, out, atol=1e-6)  # of attention the order of keys is none
    assert torch.equal(fusion(vision, [None] * 3), vision)


def test_every_vision_token_asks_by_itself() -> None:
    torch.manual_seed(0)
    fusion = GeometryFusion(12, 8)
    torch.nn.init.ones_(fusion.norm_out.weight)
    vision, geometry = torch.randn(1, 5, 12), torch.randn(6, 8)
    order = torch.tensor([3, 1, 0, 4, 2])  # as the windows of Qwen2.5-VL shuffle them
    assert torch.allclose(fusion(vision[:, order], [geometry]), fusion(vision, [geometry])[:, order], atol=1e-6)


# --- what is remembered of frames ---------------------------------------------------------------------------------


def test_a_frame_is_looked_at_once_for_each_history(root: Path) -> None:
    store = GeometryTokens(load_encoder(str(root / "encoder")))
    rng = np.random.default_rng(0)
    pixels = {k: rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for k in "abc"}
    frames = lambda names: [(f"view-{k}", lambda k=k: pixels[k]) for k in names]  # noqa: E731
    abc = store.chained(frames("abc"))
    told = [store.of(k).tokens for k in abc]
    assert store.looked == 3 and len(set(abc)) == 3
    again = store.chained(frames("ab"))
    assert again == abc[:2] and torch.equal(store.of(again[1]).tokens, told[1]) and store.looked == 3
    bac = store.chained(frames("bac"))
    assert set(bac).isdisjoint(abc)  # after others it is another
    assert not torch.allclose(store.of(bac[2]).tokens, told[2]) and store.looked == 6
    fresh = GeometryTokens(load_encoder(str(root / "encoder")))
    keys = fresh.chained(frames("abc"))
    assert keys == abc and torch.equal(fresh.of(keys[2]).tokens, told[2]) and fresh.looked == 3


def test_frames_are_told_from_bird_s_eye_views() -> None:
    assert is_frame("view-3-ab12") and is_frame("home-0.view0012.marked.jpg")
    assert not is_frame("bev-ab12") and not is_frame("home-0.bev-0a.marked.jpg")


# --- training and answering ---------------------------------------------------------------------------------------


def test_training_and_engine_give_the_same_features(root: Path, tuned: Path) -> None:
    held, loaded, part = opened(root, tuned)
    torch.nn.init.ones_(part.part.fusion.norm_out.weight)
    batch = held.batch([0, 1], 0)
    assert sorted(batch.extra[0]["geometry"]) == [str(k) for k in range(VIEWS)]  # the bird's-eye view has none
    with part.encoding(batch):
        trained = loaded.family.encoded(batch.pixels)[0].detach()
    plain = loaded.family.encoded(batch.pixels)[0].detach()
    engine = Engine.of(ModelConfig(), loaded.model, loaded.processor, "cpu", [part.feature_part])
    asked = []
    for index in (0, 1):
        chat = part.feature_part.prepared(held.chat(index)[0])
        asked += [engine.family.encode(image)[0] for image in chat.images]
    assert torch.allclose(trained, torch.cat(asked), atol=1e-5)
    of = np.cumsum([0, *(p.tokens for p in batch.pictures)])
    for k in range(VIEWS + 1):
        changed = not torch.allclose(trained[of[k] : of[k + 1]], plain[of[k] : of[k + 1]], atol=1e-4)
        assert changed == (k < VIEWS)


def test_a_step_moves_the_fusion_and_not_the_encoder(root: Path, tuned: Path) -> None:
    told = json.loads((tuned / "parts.json").read_text())["geometry"]
    assert told["answers"] and told["needs"] == [] and told["settings"]["vision_width"] == 32
    fusion = load_file(tuned / "parts.safetensors")
    assert all(k.startswith("geometry.fusion.") for k in fusion)
    assert fusion["geometry.fusion.norm_out.weight"].abs().max() > 1e-4  # it began at zero
    a, b = (load_file(p / "model.safetensors") for p in (root / "encoder", tuned / "geometry"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    _, loaded, part = opened(root)
    trainee = Trainee(loaded.model, loaded.family, [part])
    assert not any("encoder" in k and k.startswith("parts.") for k in trainee.state_dict())


def test_a_resumed_run_equals_an_unbroken_one(root: Path, tuned: Path, tmp_path: Path) -> None:
    last = train(config(root, tmp_path / "out", run={"save_every": 2}))
    shutil.rmtree(last)
    again = train(config(root, tmp_path / "out", run={"save_every": 2}))
    for name in ("model.safetensors", "parts.safetensors"):
        a, b = (load_file(p / name) for p in (tuned, again))
        assert all(torch.equal(a[k], b[k]) for k in a)


def strong(tuned: Path, out: Path) -> Path:
    """A copy whose fusion says a lot: a few steps move it little."""
    shutil.copytree(tuned, out, ignore=shutil.ignore_patterns("state"))
    weights = load_file(out / "parts.safetensors")
    weights["geometry.fusion.norm_out.weight"].fill_(2.0)
    save_file(weights, out / "parts.safetensors")
    return out


def ask(engine: Engine, *chats: Chat) -> list[ChatReply]:
    out: dict[int, ChatReply] = {}
    for index, event in engine.ask([Asked(chat, 6) for chat in chats]):
        if not isinstance(event, str):
            assert isinstance(event, ChatReply), event
            out[index] = event
    return [out[k] for k in range(len(chats))]


def same(a: ChatReply, b: ChatReply) -> bool:
    return a.text == b.text and a.confidence == pytest.approx(b.confidence, rel=1e-4)


def test_a_cached_question_is_answered_as_an_uncached_one(root: Path, tuned: Path, tmp_path: Path) -> None:
    directory = strong(tuned, tmp_path / "strong")
    assert not (directory / "state").exists()
    wanted = ModelConfig(model=str(directory), local_only=True)
    engine = Engine(wanted)
    assert engine.family.parts[0].tokens.encoder.name == "geometry"  # the checkpoint's own
    scene = load_scene(root / "run")
    prompter = VlmAnswerer(_Named()).prompter
    first, second = (prompter.build(Question(q), scene).chat for q in ("Where is the chair?", "How large is it?"))
    engine.warm(first)
    (kept,) = ask(engine, second)
    assert kept.reused_tokens > 100
    (bare,) = ask(Engine(wanted), second)
    assert bare.reused_tokens == 0 and same(kept, bare)
    together = ask(Engine(wanted), first, second)
    assert same(together[1], bare)
    plain = ask(Engine(ModelConfig(model=str(_without_geometry(directory, tmp_path)), local_only=True)), second)[0]
    assert not same(plain, bare)  # it does look at them


def test_other_frames_before_make_another_picture_of_the_same_pixels(root: Path, tuned: Path, tmp_path: Path) -> None:
    wanted = ModelConfig(model=str(strong(tuned, tmp_path / "strong")), local_only=True)
    engine = Engine(wanted)
    rng = np.random.default_rng(1)
    a, b, c = (ChatImage(f"view-{k}-{k}", rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)) for k in range(3))
    bev = ChatImage("bev-0", rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))

    def chat(*images: ChatImage) -> Chat:
        return Chat("", (Turn("user", (*images, "What is it?")),), len(images))

    orders = [chat(a, b, c, bev), chat(a, b, bev), chat(b, a, c, bev), chat(a, c, bev), chat(a, b, c, bev)]
    one_after_the_other = [ask(engine, one)[0] for one in orders]
    for one, reply in zip(orders, one_after_the_other, strict=True):
        assert same(reply, ask(Engine(wanted), one)[0])
    engine.reads.clear()  # only pictures are kept now
    assert same(ask(engine, orders[2])[0], one_after_the_other[2])
    assert engine.stats()["encoded"] == 8  # a, b after a, c after b, bev; b, a after b, c after a; c after a


class _Named:
    name = "none"


def _without_geometry(directory: Path, tmp_path: Path) -> Path:
    bare = tmp_path / "bare"
    shutil.copytree(directory, bare)
    (bare / "parts.json").unlink()
    return bare


def test_fastvlm_of_the_small_model_is_tuned_and_asked(root: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(2400)
    shape = ModelShape(tower_widths=(32, 32, 64), tower_depths=(1, 1, 1), hidden=64, layers=2, heads=2, mlp=128)
    save_model(make_model(shape, tokenizer), tokenizer, tmp_path / "fast")
    last = train(config(root, tmp_path / "out", model=str(tmp_path / "fast")))
    assert json.loads((last / "parts.json").read_text())["geometry"]["settings"]["vision_width"] == 64
    wanted = ModelConfig(model=str(strong(last, tmp_path / "strong")), local_only=True)
    scene = load_scene(root / "run")
    prompter = VlmAnswerer(_Named()).prompter
    first, second = (prompter.build(Question(q), scene).chat for q in ("Where is the chair?", "How large is it?"))
    engine = Engine(wanted)
    ask(engine, first)
    (kept,), (bare,) = ask(engine, second), ask(Engine(wanted), second)
    assert kept.reused_tokens > 20 and bare.reused_tokens == 0 and same(kept, bare)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        ({"encoder": "/nowhere/vggt-1b"}, "is not there .*VGGT: neither s3d_ros nor Transformers"),
        ({"heads": 5}, r"geometry\.heads = 5 does not divide the vision tokens' width, 32"),
    ],
)
def test_what_can_t_be_fused_is_refused_by_name(root: Path, tmp_path: Path, geometry: Any, said: str) -> None:
    with pytest.raises(TrainError, match=said):
        train(config(root, tmp_path / "out", geometry=geometry))


def test_a_checkpoint_s_damaged_encoder_is_refused(root: Path, tuned: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tuned, other, ignore=shutil.ignore_patterns("state"))
    weights = other / "geometry" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"geometry: the weights in .*model\.safetensors can't be used"):
        Engine(ModelConfig(model=str(other), local_only=True))


@pytest.mark.parametrize(
    "family", ["qwen2_vl", "qwen3_vl", "llava", "llava_onevision", "internvl", "smolvlm", "gemma3"]
)
def test_every_family_takes_them(root: Path, tmp_path: Path, family: str) -> None:
    make_tiny(family, tmp_path / family)
    held, loaded, part = opened(root, tmp_path / family)
    engine = Engine.of(ModelConfig(), loaded.model, loaded.processor, "cpu", [part.feature_part])
    chat = part.feature_part.prepared(held.chat(0)[0])
    before = engine.family.encode(chat.images[1])[0]
    torch.nn.init.ones_(part.part.fusion.norm_out.weight)
    after = engine.family.encode(chat.images[1])[0]
    assert not torch.allclose(before, after, atol=1e-4)
    batch = held.batch([0], 0)
    with part.encoding(batch):
        trained = loaded.family.encoded(batch.pixels)[0]
    count = batch.pictures[0].tokens
    assert torch.allclose(trained[count : 2 * count], after, atol=1e-4)


def test_it_goes_with_all_of_ross3ds_parts(root: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "position": {"codes": True},
        "reconstruct": {"cross_view": True, "global_view": True, "every": 2, "width": 32, "view_px": 32, "bev_px": 64,
                        "vae_steps": 2},
        "ground": {"head": True, "width": 16},
    }  # fmt: skip
    last = train(config(root, tmp_path / "out", **more))
    told = json.loads((last / "parts.json").read_text())
    assert set(told) == {"geometry", "position", "reconstruct", "ground"}
    assert {k for k, v in told.items() if v["answers"]} == {"geometry", "position"}
    wanted = ModelConfig(model=str(strong(last, tmp_path / "strong")), local_only=True)
    scene = load_scene(root / "run")
    prompter = VlmAnswerer(_Named(), beside=with_depth).prompter
    first, second = (prompter.build(Question(q), scene).chat for q in ("Where is the chair?", "How large is it?"))
    engine = Engine(wanted)
    ask(engine, first)
    (kept,), (bare,) = ask(engine, second), ask(Engine(wanted), second)
    assert kept.reused_tokens > 100 and bare.reused_tokens == 0 and same(kept, bare)
