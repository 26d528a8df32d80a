"""The files of a model before they are loaded: are they there, whole, safe, and do they fit?"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from s3d_ros.vlm.config import ModelError, local_directory

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_LARGEST_HEADER = 100_000_000  # bytes; that of safetensors' own readers
_GB = 1e9


def find_model(name: str, local_only: bool) -> Path:
    """Return the model's directory, from the hub if it has to be. Raises ModelError."""
    if not name:
        raise ModelError("no model is named: set `model` to a directory or to a name on the Hugging Face hub")
    found = local_directory(name)
    if found is not None:
        return found
    path = Path(name).expanduser()
    if path.is_file() or name.startswith(("/", ".", "~")) or name.count("/") != 1:
        raise ModelError(f"no such directory: {name}. A model is a directory, or a name on the hub as Qwen/Qwen2-VL-7B")
    return _from_hub(name, local_only)


def _from_hub(name: str, local_only: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]  # nothing that runs code when it is read
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=local_only))
    except GatedRepoError as error:
        raise ModelError(
            f"{name} asks for an agreement on the hub first: accept it there, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"there is no {name} on the hub, or it is private") from error
    except LocalEntryNotFoundError as error:
        why = "and the hub was not asked (local_only)" if local_only else "and the hub can't be reached"
        raise ModelError(f"{name} is not on this machine {why}; fetch it with `hf download {name}`") from error
    except OSError as error:
        raise ModelError(f"{name} can't be fetched from the hub: {error}") from error


def check_weights(directory: Path) -> list[Path]:
    """Return the files of weights, all there and whole. Raises ModelError."""
    files = _listed(directory)
    for file in files:
        header, start = read_header(file)
        end = max((t["data_offsets"][1] for k, t in header.items() if k != "__metadata__"), default=0)
        if file.stat().st_size != start + end:
            raise ModelError(
                f"{file} is damaged: {file.stat().st_size:,} bytes, it should have {start + end:,}; fetch it again"
            )
    return files


def _listed(directory: Path) -> list[Path]:
    index = directory / _INDEX
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(f"{index} can't be read ({error}); fetch it again") from error
        missing = [n for n in names if not (directory / n).is_file()]
        if missing:
            raise ModelError(f"weights are missing in {directory}: {', '.join(missing)}; fetch them again")
        return [directory / n for n in names]
    if (directory / _SINGLE).is_file():
        return [directory / _SINGLE]
    if any(f for pattern in _PICKLES for f in directory.glob(pattern)):
        raise ModelError(
            f"{directory} has its weights as pickles only, which may run code; use a version with model.safetensors"
        )
    raise ModelError(f"no weights in {directory}: model.safetensors is missing")


def read_header(file: Path) -> tuple[dict[str, Any], int]:
    """Return what a safetensors file says it holds, and where its data begin. Raises ModelError."""
    try:
        with file.open("rb") as opened:
            (size,) = struct.unpack("<Q", opened.read(8))
            if size > _LARGEST_HEADER:
                raise ValueError("no safetensors file")
            return json.loads(opened.read(size)), 8 + size
    except (OSError, ValueError, struct.error) as error:
        raise ModelError(f"{file} is damaged ({error}); fetch it again") from error


def needed_bytes(files: list[Path], bytes_per_weight: float) -> int:
    """Return what the weights will take in memory."""
    weights = 0
    for file in files:
        header, _ = read_header(file)
        for name, tensor in header.items():
            if name != "__metadata__":
                count = 1
                for n in tensor["shape"]:
                    count *= n
                weights += count
    return int(weights * bytes_per_weight)


def free_bytes(device: str) -> int:
    """Return how much memory is free where the model would go."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise ModelError("/proc/meminfo does not say how much memory is free")


def check_fits(name: str, needed: int, free: int, device: str) -> None:
    """Raise ModelError if the weights would not fit, with a little room to work in."""
    if needed * 1.05 > free:
        raise ModelError(
            f"{name} is too big for {device}: its weights take {needed / _GB:.1f} GB, {free / _GB:.1f} GB are free; "
            "use a smaller model, or quantization 8bit or 4bit (CUDA only)"
        )
