"""Loads a chat model that sees, or says why it can't."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s3d_ros.vlm.config import ModelConfig, ModelError
from s3d_ros.vlm.weights import check_fits, check_weights, find_model, free_bytes, needed_bytes

OnProgress = Callable[[str, float], None]
_QUANTIZED_BYTES = {"8bit": 1.1, "4bit": 0.65}  # a weight, with scales and what stays as it was
_LOOK_S = 0.2


def load_model(config: ModelConfig, on_progress: OnProgress) -> tuple[Any, Any, str]:
    """Return model, processor and device. Raises ModelError, whose text says what is wrong and how to mend it."""
    for name in ("torch", "transformers"):
        if importlib.util.find_spec(name) is None:
            raise ModelError(f"{name} is not installed: pip install 's3d_ros[vlm]'")
    on_progress("finding the model", 0.0)
    directory = find_model(config.model, config.local_only)
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, device)
    model_config = read_config(directory)
    from s3d_ros.vlm.processor import load_processor

    processor = load_processor(directory, model_config.model_type)
    files = check_weights(directory)
    each = _QUANTIZED_BYTES.get(config.quantization, dtype.itemsize)
    needed = needed_bytes(files, each)
    check_fits(config.model, needed, free_bytes(device), device)
    options: dict[str, Any] = {"config": model_config, "dtype": dtype, "device_map": {"": device}}
    if config.quantization != "none":
        options["quantization_config"] = _quantization(config.quantization, dtype, device)
    model = _watched(lambda: _load(directory, options, config.attention, device), device, needed, on_progress)
    on_progress("loading the weights", 1.0)
    return model, processor, device


def choose_device(asked: str) -> str:
    """Return cuda:0 or cpu for "auto"; raises ModelError for a device that is not there."""
    import torch

    if asked == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise ModelError(f"device {asked!r} is none: auto, cpu, cuda:0") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {asked!r} is not there: {torch.cuda.device_count()} CUDA devices; or device auto")
    if device.type not in ("cuda", "cpu"):
        raise ModelError(f"device {asked!r} is not supported: auto, cpu, cuda:0")
    return asked


def choose_dtype(asked: str, device: str) -> Any:
    """Return the torch dtype; "auto" is bfloat16 where the GPU has it, float16 on older ones, float32 on a CPU."""
    import torch

    if asked != "auto":
        return getattr(torch, asked)
    if not device.startswith("cuda"):
        return torch.float32
    modern = torch.cuda.get_device_capability(torch.device(device))[0] >= 8
    return torch.bfloat16 if modern else torch.float16


def read_config(directory: Path) -> Any:
    """Return the model's own config, of a kind that can be used here. Raises ModelError."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    if not (directory / "config.json").is_file():
        raise ModelError(f"{directory} is no model: config.json is missing")
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged file may lead to anything
        text = " ".join(str(error).split())[:300]
        raise ModelError(f"{directory}/config.json can't be used: {text}") from error
    kind = config.model_type
    if kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        only_text = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        what = "a language model that can't see pictures" if only_text else "no chat model that sees"
        raise ModelError(f"{directory} is the wrong kind of model: {kind} is {what}; take one as Qwen2.5-VL")
    return config


def _load(directory: Path, options: dict[str, Any], attention: str, device: str) -> Any:
    from transformers import AutoModelForImageTextToText

    tried = []
    for implementation in _attentions(attention, device):
        try:
            model, told = AutoModelForImageTextToText.from_pretrained(
                directory,
                attn_implementation=implementation,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
        except (ValueError, ImportError) as error:
            tried.append(f"{implementation}: {' '.join(str(error).split())[:200]}")
            continue
        told = told if isinstance(told, dict) else vars(told)
        wrong = sorted({*told.get("missing_keys", ()), *(m[0] for m in told.get("mismatched_keys", ()))})
        if wrong:
            raise ModelError(f"the weights in {directory} do not fit its config.json: {', '.join(wrong[:5])} ...")
        return model.eval()
    raise ModelError(f"{directory} can't be loaded: {'; '.join(tried)}")


def _attentions(asked: str, device: str) -> list[str | dict[str, str]]:
    if asked != "auto":
        return [asked]
    flash = device.startswith("cuda") and importlib.util.find_spec("flash_attn") is not None
    by_part = {"text_config": "sdpa", "vision_config": "eager"}  # an encoder of convolutions knows no sdpa
    return [*(["flash_attention_2"] if flash else []), "sdpa", by_part, "eager"]


def _quantization(kind: str, dtype: Any, device: str) -> Any:
    if not device.startswith("cuda"):
        raise ModelError(f"quantization {kind} needs CUDA, the model goes to {device}: set quantization to none")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(f"quantization {kind} needs bitsandbytes: pip install bitsandbytes, or quantization none")
    from transformers import BitsAndBytesConfig

    if kind == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=dtype, bnb_4bit_quant_type="nf4")


def _watched(load: Callable[[], Any], device: str, needed: int, on_progress: OnProgress) -> Any:
    """Load in a thread, and tell meanwhile how much of the memory that it will need is taken."""
    out: list[Any] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            out.append(load())
        except BaseException as error:
            failed.append(error)

    free_before = free_bytes(device)
    thread = threading.Thread(target=work, name="loading", daemon=True)
    thread.start()
    while thread.is_alive():
        taken = (free_before - free_bytes(device)) / max(1, needed)
        on_progress("loading the weights", min(0.99, max(0.0, taken)))
        thread.join(_LOOK_S)
    if not failed:
        return out[0]
    error = failed[0]
    if isinstance(error, ModelError):
        raise error
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        raise ModelError(f"not enough memory on {device} to load the model: {' '.join(str(error).split())[:200]}")
    raise ModelError(f"the model can't be loaded: {' '.join(str(error).split())[:300]}") from error
