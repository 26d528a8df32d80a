"""What to load and what it may take: free of torch, so that every process can read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from s3d_ros.keys import choice, number, plain

SHIPPED = Path(__file__).resolve().parent.parent / "models"  # of models that come with the package, a directory each


class ModelError(RuntimeError):
    """Why a model can't be used; the message says what is wrong and how to mend it."""


def local_directory(name: str) -> Path | None:
    """Return where a model is on this machine by its name alone: a directory, or one that is shipped ("small")."""
    if not name:
        return None
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    shipped = SHIPPED / name
    return shipped if name.isidentifier() and (shipped / "config.json").is_file() else None


@dataclass(frozen=True)
class ModelConfig:
    """A chat model of Transformers that sees: which one, where, and how much it may keep of what it has read."""

    model: str = plain("", "a directory, or a name on the Hugging Face hub: Qwen/Qwen2.5-VL-7B-Instruct")
    device: str = plain("auto", "auto: the first CUDA device, else the CPU; or cuda:1, cpu")
    dtype: str = choice(
        "auto", ("auto", "bfloat16", "float16", "float32"), "auto: bfloat16 on CUDA (float16 on old ones), else float32"
    )
    quantization: str = choice("none", ("none", "8bit", "4bit"), "smaller weights; needs bitsandbytes and CUDA")
    attention: str = choice(
        "auto", ("auto", "flash_attention_2", "sdpa", "eager"), "auto: the fastest that is there and that it knows"
    )
    local_only: bool = plain(False, "never ask the hub: the model is on this machine or it is not")
    tile_images: bool = plain(False, "let families that cut pictures into tiles do so: sharper, many more tokens")
    max_context_tokens: int = number(0, 0, 10_000_000, "prompt and reply together; 0: what the model was made for")
    max_batch: int = number(16, 1, 256, "questions that are answered at the same time")
    scene_cache_gb: float = number(4.0, 0, 1024, "for what was read of scenes; the least recently used goes first")
    cached_scenes: int = number(3, 1, 64, "scenes remembered at most, of those that fit")
    image_cache_gb: float = number(1.0, 0, 1024, "for encoded pictures; the least recently used goes first")
