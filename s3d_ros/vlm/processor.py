"""The processor that belongs to a model, made without the video part where torchvision is absent."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

from s3d_ros.vlm.config import ModelError


def load_processor(directory: Path, model_type: str) -> Any:
    """Return the family's own processor, with tokenizer, image processor and chat template. Raises ModelError."""
    from transformers import AutoImageProcessor, AutoTokenizer

    cls = _processor_class(directory, model_type)
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        image_processor = AutoImageProcessor.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a broken file makes of it
        raise ModelError(f"the processor in {directory} can't be loaded: {_first_line(error)}") from error
    settings = _read_json(directory / "processor_config.json")
    known = inspect.signature(cls.__init__).parameters
    settings = {k: v for k, v in settings.items() if k in known and not isinstance(v, dict)}
    settings["chat_template"] = _chat_template(directory, tokenizer)
    others = {name: None for name in cls.get_attributes() if name not in ("tokenizer", "image_processor")}
    try:
        return without_videos(cls)(**{**settings, **others, "tokenizer": tokenizer, "image_processor": image_processor})
    except Exception as error:
        raise ModelError(f"the processor in {directory} can't be made: {_first_line(error)}") from error


def without_videos(cls: Any) -> Any:
    """Return the class with parts that may be absent: videos need torchvision, which nothing here does."""

    def check(self: Any, name: str, value: Any) -> Any:
        return None if value is None else cls.check_argument_for_proper_class(self, name, value)

    module = importlib.import_module(cls.__module__)
    if getattr(module, "num2words", True) is None:  # SmolVLM writes numbers of video frames with it
        module.num2words = _no_videos  # type: ignore[attr-defined]
    return type(cls.__name__, (cls,), {"check_argument_for_proper_class": check, "__module__": cls.__module__})


def _no_videos(*args: Any, **kwargs: Any) -> str:
    raise NotImplementedError("videos are not used here")


def _processor_class(directory: Path, model_type: str) -> Any:
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    named = [_read_json(directory / f"{n}_config.json").get("processor_class") for n in ("processor", "preprocessor")]
    for name in (*named, PROCESSOR_MAPPING_NAMES.get(model_type)):
        try:
            cls = getattr(transformers, name, None) if name else None
            if cls is not None and hasattr(cls, "replace_image_token"):
                return cls
        except ImportError as error:  # of a library that this family's processor can't do without
            raise ModelError(f"{directory}: {' '.join(str(error).split())[:200]}") from error
    raise ModelError(f"{directory}: Transformers has no processor for text and pictures of a {model_type}")


def _chat_template(directory: Path, tokenizer: Any) -> str:
    jinja = directory / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_text(encoding="utf-8")
    template = _read_json(directory / "chat_template.json").get("chat_template") or tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not isinstance(template, str):
        raise ModelError(f"{directory} has no chat template: it is no chat model, take its instruct version")
    return template


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} can't be read ({error}); fetch it again") from error
    return content if isinstance(content, dict) else {}


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
