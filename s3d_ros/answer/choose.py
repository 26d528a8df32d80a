"""Make the answerer that the settings ask for: the same for the node and the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from s3d_ros.answer.base import Answerer
from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.answer.settings import AnswererConfig
from s3d_ros.chat import Chat, ChatModel
from s3d_ros.keys import ConfigError
from s3d_ros.prompt.build import Beside
from s3d_ros.vlm.beside import DEPTH, needs_of, with_depth
from s3d_ros.vlm.config import ModelError


@dataclass(frozen=True)
class Chosen:
    """An answerer, and the language model behind it. name: "geometric", "transformers", "auto (transformers)", ..."""

    answerer: Answerer
    chat: ChatModel | None
    name: str

    def missing(self) -> str:
        """Say why the language model can't be asked now, empty when it can or there is none."""
        return "" if self.chat is None else self.chat.missing()

    def status(self) -> dict[str, str]:
        """Tell how the language model is, for diagnostics."""
        status: Callable[[], dict[str, str]] = getattr(self.chat, "status", dict)
        return status()


def choose(
    config: AnswererConfig,
    on_event: Callable[[str], None] = lambda text: None,
    on_prompt: Callable[[Chat, str], None] = lambda chat, reply: None,
    running: ChatModel | None = None,
) -> Chosen:
    """Make an answerer; a model begins to load, ``missing()`` says how far it is.

    on_event: told in words when a model was loaded, or died. on_prompt: gets what a model was asked, and its reply.
    running: of an earlier choice; it goes on instead of a new one.
    Raises ConfigError.
    """
    model = config.chosen()
    if not model:
        return Chosen(GeometricAnswerer(), None, "geometric")
    chat = running or _chat(model, config, on_event)
    from s3d_ros.answer.tools import MapTools
    from s3d_ros.answer.vlm import VlmAnswerer

    vlm = VlmAnswerer(
        chat,
        config.prompt,
        max_new_tokens=config.max_new_tokens,
        tools=MapTools() if config.tools else None,
        on_prompt=on_prompt,
        beside=_beside(model, config.model.model),
    )
    if config.answerer != "auto":
        return Chosen(vlm, chat, model)
    from s3d_ros.answer.auto import AutoAnswerer

    return Chosen(AutoAnswerer(GeometricAnswerer(), vlm), chat, f"auto ({model})")


def _beside(chosen: str, model: str) -> Beside | None:
    """Return what puts beside view frames what a model's own parts need. Raises ConfigError for what is not known."""
    try:
        needs = needs_of(model) if chosen == "transformers" else frozenset()
    except ModelError as error:
        raise ConfigError(f"model: {error}") from error
    if unknown := needs - {DEPTH}:
        raise ConfigError(f"model: {model} needs {', '.join(sorted(unknown))} of view frames, which is not known here")
    return with_depth if needs else None


def _chat(model: str, config: AnswererConfig, on_event: Callable[[str], None]) -> ChatModel:
    if model == "openai":
        from s3d_ros.answer.openai_chat import OpenAIChat

        return OpenAIChat(config.server)
    from s3d_ros.answer.transformers_chat import TransformersChat

    return TransformersChat(config.model, config.watch, on_event=on_event)
