"""What a server's errors mean, in words that say what happened and how to mend it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from s3d_ros.answer.openai_config import OpenAIConfig

_MOST_NAMES = 12
_MOST_CHARACTERS = 400
_TOO_LONG = re.compile(
    r"context.{0,20}(?:length|window|size)|maximum.{0,20}(?:length|tokens)|too (?:long|many tokens)|exceed\w* .{0,40}"
    r"(?:context|tokens)|(?:prompt|input).{0,30}(?:longer|larger|exceed)",
    re.IGNORECASE | re.DOTALL,
)
_NO_SUCH_MODEL = re.compile(
    r"model.{0,120}(?:not exist|not found|unknown|not loaded)|no such model|pinned to|unknown model",
    re.IGNORECASE | re.DOTALL,
)
_OPTIONAL = ("logprobs", "stream_options", "max_tokens", "temperature")
_LIMITS = ("max_model_len", "context_length", "max_context_length", "context_window", "n_ctx")


def in_words(error: Exception, openai: Any, url: str, config: OpenAIConfig, models: Sequence[str], begun: bool) -> str:
    """Return what to tell of an error. begun: some of the reply had come."""
    if isinstance(error, openai.APITimeoutError):
        return f"the server at {url} did not answer in time (connect_s, timeout_s)"
    if isinstance(error, openai.APIConnectionError) and not begun:
        cause = _cause(error)
        return f"no connection to the server at {url} ({cause}): is it running, and is url right?"
    if not isinstance(error, openai.APIStatusError):
        when = "in the middle of the reply" if begun else "before the reply began"
        return f"the server at {url} broke off {when} ({_short(said(error))}); ask again"
    status, told = error.status_code, _short(said(error))
    if status in (401, 403):
        return f"the server at {url} refuses the key ({status}): put the right one into ${config.key_variable}"
    if status == 429:
        return f"the server at {url} has too much to do (429, after {config.retries} retries): {told}; ask again later"
    if status in (400, 413, 422) and (status == 413 or _TOO_LONG.search(told)):
        return (
            f"the prompt is too long for the server's model: {told}. Set context_tokens to what the model can read, or "
            "use fewer or smaller frames"
        )
    if (status == 404 or status == 400) and _NO_SUCH_MODEL.search(told):
        return f"{about_models(config.model, models)} The server at {url} says: {told}"
    if status == 404:
        return f"there is no chat at {url} (404): {told}; url mostly ends in /v1"
    if 300 <= status < 400:
        return f"the server at {url} wants to send us elsewhere ({status}), which is not followed: correct url"
    if status >= 500:
        return f"the server at {url} failed ({status}, after {config.retries} retries): {told}"
    return f"the server at {url} refuses the request ({status}): {told}"


def about_models(wanted: str, offered: Sequence[str]) -> str:
    """Say what is wrong with the model's name, and which the server offers."""
    names = ", ".join(map(repr, offered[:_MOST_NAMES]))
    more = f" and {len(offered) - _MOST_NAMES} more" if len(offered) > _MOST_NAMES else ""
    there = f"it offers {names}{more}" if offered else "it does not tell which it has"
    if wanted:
        return f"the server has no model {wanted!r}: {there}."
    return f"which model is to be asked? Set model; {there}."


def context_limit(about: Mapping[str, Any] | None) -> int:
    """Return how many tokens a model can read, from its entry in the server's list; 0 where it doesn't tell."""
    about = about or {}
    places = [about, about.get("meta") or {}, about.get("model_extra") or {}]
    found = [p[k] for p in places if isinstance(p, Mapping) for k in _LIMITS if isinstance(p.get(k), int)]
    return int(found[0]) if found and found[0] > 0 else 0


def unwanted_fields(told: str, sent: Iterable[str]) -> frozenset[str]:
    """Return the optional fields of a request that an error names, unless it is about their values."""
    if _TOO_LONG.search(told):
        return frozenset()
    sent = set(sent)
    return frozenset(name for name in _OPTIONAL if name in sent and re.search(rf"\b{name}\b", told))


def said(error: Exception) -> str:
    """Return what the server says of an error, without what the package adds."""
    body = getattr(error, "body", None)
    for key in ("message", "detail", "error"):
        if isinstance(body, Mapping) and body.get(key):
            body = body[key]
    if body:
        return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)
    return str(error) or type(error).__name__


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return _short(str(error)) or type(error).__name__
