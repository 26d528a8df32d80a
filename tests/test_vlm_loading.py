"""What can't be loaded says why, and how to mend it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_vlm import make_tiny

from s3d_ros.vlm import loading, weights
from s3d_ros.vlm.config import ModelConfig, ModelError
from s3d_ros.vlm.engine import Engine


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers.utils.logging.disable_progress_bar()
    return make_tiny("qwen2_5_vl", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "copy")


def why(model: Path | str, **options: Any) -> str:
    with pytest.raises(ModelError) as raised:
        Engine(ModelConfig(model=str(model), **options))
    return str(raised.value)


def test_loading_tells_how_far_it_is(tiny: Path) -> None:
    told: list[tuple[str, float]] = []
    engine = Engine(ModelConfig(model=str(tiny)), lambda stage, done: told.append((stage, done)))
    assert told[0] == ("finding the model", 0.0) and told[-1] == ("loading the weights", 1.0)
    assert all(0 <= done <= 1 for _, done in told)
    assert (engine.name, engine.device, engine.context_tokens) == ("tiny", "cpu", 32768)
    assert engine.family.model.dtype == torch.float32


def test_no_such_directory(tmp_path: Path) -> None:
    assert "no such directory" in why(tmp_path / "missing") and str(tmp_path / "missing") in why(tmp_path / "missing")
    assert "no model is named" in why("")


def test_a_name_that_is_not_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    text = why("nobody/no-such-model", local_only=True)
    assert "nobody/no-such-model is not on this machine" in text and "hf download" in text


def test_weights_that_are_missing_pickled_or_damaged(copy: Path) -> None:
    file = copy / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    assert "is damaged" in why(copy) and f"{len(whole):,}" in why(copy)
    file.write_bytes(b"\xff" * 64)
    assert "is damaged" in why(copy)
    file.unlink()
    assert "model.safetensors is missing" in why(copy)
    (copy / "pytorch_model.bin").write_bytes(b"")
    assert "pickles only" in why(copy)
    index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    (copy / "model-1.safetensors").write_bytes(whole)
    assert "model-2.safetensors" in why(copy) and "model-1" not in why(copy)


def test_weights_of_another_shape(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] += 1
    config["text_config"]["layer_types"] = ["full_attention"] * config["text_config"]["num_hidden_layers"]
    (copy / "config.json").write_text(json.dumps(config))
    assert "do not fit its config.json" in why(copy) and "layers.2" in why(copy)


@pytest.mark.parametrize(("kind", "expected"), [("llama", "can't see pictures"), ("vit", "no chat model that sees")])
def test_the_wrong_kind(copy: Path, kind: str, expected: str) -> None:
    (copy / "config.json").write_text(json.dumps({"model_type": kind}))
    assert "wrong kind" in why(copy) and expected in why(copy)


def test_a_config_that_is_unknown_damaged_or_missing(copy: Path) -> None:
    (copy / "config.json").write_text(json.dumps({"model_type": "brand_new_vl"}))
    assert "brand_new_vl" in why(copy)
    (copy / "config.json").write_text("{")
    assert "can't be used" in why(copy)
    (copy / "config.json").unlink()
    assert "config.json is missing" in why(copy)


def test_code_of_the_model_is_never_run(copy: Path) -> None:
    config = {"model_type": "own_vl", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "evil.py").write_text(f"open({str(copy / 'ran')!r}, 'w')")
    why(copy)
    assert not (copy / "ran").exists()


def test_no_chat_template_or_tokenizer(copy: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    assert "no chat template" in why(copy)
    (copy / "tokenizer.json").write_text("{}")
    assert "can't be loaded" in why(copy)


def test_too_big_says_both_sizes(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "free_bytes", lambda device: 100_000)
    assert "too big for cpu" in why(tiny) and "GB are free" in why(tiny)


def test_needed_memory_is_counted_in_the_type_that_is_loaded(tiny: Path) -> None:
    files = weights.check_weights(tiny)
    count = sum(p.numel() for p in Engine(ModelConfig(model=str(tiny))).family.model.parameters())
    assert weights.needed_bytes(files, 4) == 4 * count
    assert weights.needed_bytes(files, 0.5) == count // 2


def test_what_is_not_installed_or_not_there(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "needs CUDA" in why(tiny, quantization="4bit")
    assert "device 'cuda:7' is not there" in why(tiny, device="cuda:7")
    assert "device 'gpu' is none" in why(tiny, device="gpu")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else found(name))
    assert "transformers is not installed" in why(tiny) and "s3d_ros[vlm]" in why(tiny)


def test_a_processor_that_needs_what_is_not_installed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(type):
        def __getattr__(cls, name: str) -> Any:
            raise ImportError("OtherProcessor requires the Torchvision library but it was not found")

    library = sys.modules["transformers"]  # it replaces itself when it is imported
    monkeypatch.setattr(library, "OtherProcessor", Absent("OtherProcessor", (), {}), raising=False)
    (copy / "processor_config.json").write_text(json.dumps({"processor_class": "OtherProcessor"}))
    assert "requires the Torchvision library" in why(copy)


def test_attention_falls_back_to_what_the_model_knows(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = ["flash_attention_2", "eager"]
    monkeypatch.setattr(loading, "_attentions", lambda asked, device: tried)
    engine = Engine(ModelConfig(model=str(tiny)))
    assert engine.family.model.config.get_text_config()._attn_implementation == "eager"


def test_half_precision_where_asked(tiny: Path) -> None:
    assert Engine(ModelConfig(model=str(tiny), dtype="bfloat16")).family.model.dtype == torch.bfloat16
