"""All that can be set of an answerer, by one flat list of names: ROS parameters, and ``--set`` on the command line.

What a model is and takes has plain names (``model``, ``device``, ``dtype``); the rest is grouped: ``prompt.frames``,
``server.url``, ``watch.stuck_s``. Defaults, ranges and descriptions are those of the config classes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from s3d_ros.answer.model_watch import WatchConfig
from s3d_ros.answer.openai_config import OpenAIConfig
from s3d_ros.keys import ConfigError, choice, from_dict, nearest, number, plain
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.vlm.config import ModelConfig, local_directory

GROUPS = {"model": "", "prompt": "prompt.", "server": "server.", "watch": "watch."}
_ELSEWHERE = {"server.model": "model"}  # one name for the model, whoever runs it


@dataclass(frozen=True)
class AnswererConfig:
    """Who answers, and how."""

    answerer: str = choice(
        "auto",
        ("auto", "geometric", "transformers", "openai"),
        "auto: the map itself what it can settle, a language model the rest, where one is set (model or server.url); "
        "transformers: a model on this machine; openai: one on a server",
    )
    max_new_tokens: int = number(256, 1, 32768, "an answer is cut off there")
    tools: bool = plain(False, "a language model may ask the map for distances, counts, places and crops")
    model: ModelConfig = field(default_factory=ModelConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    server: OpenAIConfig = field(default_factory=OpenAIConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)

    def flat(self) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
        """Yield (name, value, metadata) of every setting."""
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name not in GROUPS:
                yield item.name, value, item.metadata
                continue
            for part in dataclasses.fields(value):
                name = GROUPS[item.name] + part.name
                if name not in _ELSEWHERE:
                    yield name, getattr(value, part.name), part.metadata

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> AnswererConfig:
        """Make a config from names and values; what is not given has its default. Raises ConfigError naming the key.

        A model tuned here says in its ``prompt.json`` how it was asked: that is then the default of ``prompt.*``.
        """
        values = {**taught(str(values.get("model", ""))), **values}
        known = [name for name, _, _ in cls().flat()]
        nested: dict[str, Any] = {group: {} for group in GROUPS}
        for name, value in values.items():
            if name not in known:
                raise ConfigError(f"unknown setting {name!r}{nearest(name, known)}")
            group, _, rest = name.partition(".")
            if rest:
                nested[group][rest] = value
            elif name in {f.name for f in dataclasses.fields(ModelConfig)}:
                nested["model"][name] = value
            else:
                nested[name] = value
        if "model" in nested["model"]:
            nested["server"]["model"] = nested["model"]["model"]
        return from_dict(cls, nested, "")

    def chosen(self) -> str:
        """Return which language model answers: transformers, openai, or "" for none. Raises ConfigError."""
        if self.answerer == "transformers" and not self.model.model:
            raise ConfigError(
                "answerer is transformers, but no model is named: set model to a directory, or to a name on the "
                "Hugging Face hub such as Qwen/Qwen2.5-VL-7B-Instruct"
            )
        if self.answerer == "openai" and not self.server.url:
            raise ConfigError("answerer is openai, but no server is: set server.url, such as http://127.0.0.1:8000/v1")
        if self.answerer != "auto":
            return "" if self.answerer == "geometric" else self.answerer
        return "openai" if self.server.url else "transformers" if self.model.model else ""


def taught(model: str) -> dict[str, Any]:
    """Return the settings of the prompts that a model tuned here was trained with, by dotted name; none for others.

    Raises ConfigError where its ``prompt.json`` can't be read.
    """
    found = local_directory(model)
    path = None if found is None else found / "prompt.json"
    if path is None or not path.is_file():
        return {}
    try:
        held: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {f"prompt.{key}": value for key, value in held.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path} can't be read ({error}); copy the checkpoint anew") from error
