"""A model behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, `transformers serve`, or a service.

The same chat as for a model of one's own. Nothing is sent anywhere but to the URL that was given; the key is read from
the environment, and neither logged nor shown.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from s3d_ros.answer.openai_config import OpenAIConfig, checked_url, is_loopback
from s3d_ros.answer.openai_messages import (
    ImageEncoder,
    estimated_chat_tokens,
    estimated_tokens,
    messages_of,
    shared_chat,
)
from s3d_ros.answer.openai_trouble import about_models, context_limit, in_words, said, unwanted_fields
from s3d_ros.chat import Chat, ChatError, ChatReply, Part
from s3d_ros.keys import ConfigError
from s3d_ros.types import ErrorCode

CONTEXT_TOKENS = 32768  # where neither the parameter nor the server tells
_PROBE_PERIOD_S = 2.0
_POLL_S = 0.02


@dataclass
class _Under:
    """A request under way: what came so far, and when."""

    began: float
    text: str = ""
    first_s: float = 0.0
    logprobs: list[float] = field(default_factory=list)
    finish: str | None = None
    usage: Any = None


class OpenAIChat:
    """Talks to one server; safe to use from several threads. All of its network runs on one thread of its own."""

    def __init__(self, config: OpenAIConfig) -> None:
        """Start looking for the server. Raises ConfigError for what can't be right."""
        self._url = checked_url(config)
        try:
            import openai
        except ImportError:
            raise ConfigError("a server needs the package openai: pip install 'openai>=2,<4'") from None
        self.config = config
        self.name = "openai"
        self._openai = openai
        self._encoder = ImageEncoder(config.image_format, config.jpeg_quality, config.image_cache_mb << 20)
        self._models: dict[str, Any] | None = None  # what the server offers; None until it was reached
        self._trouble = ""  # until it is known, a question tries
        self._without: frozenset[str] = frozenset() if config.logprobs else frozenset(["logprobs"])
        self._more = 1.0  # tokens counted by the server to tokens estimated, at most seen
        self._warming: asyncio.Task[None] | None = None
        self._wanted_probe: asyncio.Event | None = None
        self._client: Any = None
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="openai", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"OpenAIChat({self._url!r}, {self.config.model!r})"

    # --- what a ChatModel can do --------------------------------------------------------------------------------

    def missing(self) -> str:
        """Say why the server can't be asked now; it is looked for again and again until it is there."""
        return self._trouble

    def context_tokens(self) -> int:
        """Return the parameter, else what the server tells of its model, else 32768."""
        return self.config.context_tokens or context_limit((self._models or {}).get(self._model())) or CONTEXT_TOKENS

    def count_tokens(self, part: Part) -> int:
        """Return an estimate; once the server has counted more than was estimated, so much more."""
        return math.ceil(estimated_tokens(part) * self._more)

    def warm(self, chat: Chat) -> None:
        """Have the server read what is shared, if ``config.warm``; a newer scene takes the place of an older one."""
        if self.config.warm and chat.shared_parts and not self._closed:
            self._loop.call_soon_threadsafe(self._warm_soon, shared_chat(chat))

    def ask(
        self,
        chat: Chat,
        max_new_tokens: int,
        on_text: Callable[[str], None] = lambda text: None,
        cancelled: threading.Event | None = None,
    ) -> ChatReply:
        """Return the reply. Raises ChatError. When cancelled the connection is closed, which ends the server's work."""
        if self._closed:
            raise ChatError(ErrorCode.MODEL_FAILED, "the connection to the server was closed")
        news: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        under = _Under(time.perf_counter())
        future = asyncio.run_coroutine_threadsafe(self._ask(chat, max_new_tokens, under, news.put), self._loop)
        future.add_done_callback(lambda _: news.put(None))
        while True:
            if cancelled is not None and cancelled.is_set():
                future.cancel()
                return self._reply(under, "cancelled")
            if not self._thread.is_alive():  # closed meanwhile
                future.cancel()
                break
            with contextlib.suppress(queue.Empty):
                text = news.get(timeout=_POLL_S)
                if text is None:
                    break
                on_text(text)
        try:
            future.result()
        except (asyncio.CancelledError, concurrent.futures.CancelledError):  # by close()
            raise ChatError(ErrorCode.CANCELLED, "the connection to the server was closed") from None
        reply = self._reply(under, "length" if under.finish == "length" else "end")
        if reply.prompt_tokens:
            self._more = max(self._more, reply.prompt_tokens / max(1, estimated_chat_tokens(chat)))
        return reply

    def close(self) -> None:
        """End what is under way and the thread."""
        if not self._closed:
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)

    # --- on the thread ------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._wanted_probe = asyncio.Event()
        looking = self._loop.create_task(self._look_for_server())
        self._loop.run_forever()
        left = [looking, *asyncio.all_tasks(self._loop)]
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        if self._client is not None:
            self._loop.run_until_complete(self._client.close())
        self._loop.close()

    def _connected(self) -> Any:
        if self._client is None:
            config, openai = self.config, self._openai
            # A redirect would carry the pictures elsewhere, a proxy is not asked for what is on this machine
            http = openai.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=not is_loopback(self._url))
            self._client = openai.AsyncOpenAI(
                base_url=self._url,
                api_key=self._key() or "none",
                max_retries=config.retries,
                timeout=openai.Timeout(config.timeout_s, connect=config.connect_s),
                http_client=http,
            )
        return self._client

    def _key(self) -> str:
        return os.environ.get(self.config.key_variable, "").strip()

    async def _look_for_server(self) -> None:
        """Ask what the server offers, until it answers; again whenever it was lost."""
        assert self._wanted_probe is not None
        while True:
            try:
                await self._probe()
                self._trouble = ""
            except Exception as error:
                self._trouble = self._words(error)
            self._wanted_probe.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted_probe.wait(), _PROBE_PERIOD_S if self._trouble else None)
                await asyncio.sleep(_PROBE_PERIOD_S)

    async def _probe(self) -> None:
        openai = self._openai
        try:
            page = await self._connected().with_options(max_retries=0, timeout=self.config.connect_s).models.list()
            self._models = {m.id: m.model_dump() for m in page.data or ()}
        except (openai.AuthenticationError, openai.PermissionDeniedError):
            raise
        except openai.APIStatusError:  # it is there, and keeps no list: `transformers serve` without a cache
            self._models = self._models or {}

    def _model(self) -> str:
        models = list(self._models or ())
        return self.config.model or (models[0] if len(models) == 1 else "")

    async def _ask(self, chat: Chat, max_new_tokens: int, under: _Under, on_text: Callable[[str], None]) -> None:
        try:
            async with asyncio.timeout(self.config.timeout_s):
                if self._models is None:
                    await self._probe()
                if not self._model():
                    raise ChatError(ErrorCode.MODEL_FAILED, about_models(self.config.model, list(self._models or ())))
                messages = await asyncio.to_thread(messages_of, chat, self._encoder)
                await self._read(await self._open(messages, max_new_tokens), under, on_text)
                self._trouble = ""
        except ChatError:
            raise
        except TimeoutError:
            raise ChatError(
                ErrorCode.DEADLINE,
                f"the server at {self._url} did not finish its reply in {self.config.timeout_s:g} s (timeout_s)",
            ) from None
        except Exception as error:
            raise await self._failed(error, bool(under.text)) from None  # the cause may show headers

    async def _open(self, messages: list[dict[str, Any]], max_new_tokens: int) -> Any:
        """Open the stream; fields that the server does not know are left out, then and later."""
        while True:
            fields: dict[str, Any] = {
                "max_tokens": max_new_tokens,
                "temperature": 0,
                "logprobs": True,
                "stream_options": {"include_usage": True},
            }
            if "max_tokens" in self._without:
                fields["max_completion_tokens"] = fields["max_tokens"]
            known = {k: v for k, v in fields.items() if k not in self._without}
            try:
                return await self._connected().chat.completions.create(
                    model=self._model(), messages=messages, stream=True, **known
                )
            except (self._openai.BadRequestError, self._openai.UnprocessableEntityError) as error:
                unwanted = unwanted_fields(said(error), known)
                if not unwanted:
                    raise
                self._without |= unwanted

    async def _read(self, stream: Any, under: _Under, on_text: Callable[[str], None]) -> None:
        async with stream:
            async for chunk in stream:
                under.usage = chunk.usage or under.usage
                for choice in chunk.choices or ():
                    under.finish = choice.finish_reason or under.finish
                    told = getattr(choice, "logprobs", None)
                    under.logprobs += [token.logprob for token in (told.content if told else None) or ()]
                    if choice.delta is not None and choice.delta.content:
                        under.first_s = under.first_s or time.perf_counter() - under.began
                        under.text += choice.delta.content
                        on_text(under.text)
        if under.finish is None:
            raise ConnectionError("the stream ended before the reply did")
        if under.finish == "content_filter":
            raise ChatError(ErrorCode.MODEL_FAILED, f"the server at {self._url} withheld the reply: its content filter")

    async def _failed(self, error: Exception, begun: bool) -> ChatError:
        if isinstance(error, self._openai.APIStatusError) and error.status_code in (400, 404):
            with contextlib.suppress(Exception):
                await self._probe()
        elif not isinstance(error, self._openai.APIStatusError):
            self._trouble = self._words(error, begun)
            if self._wanted_probe is not None:
                self._wanted_probe.set()
        return ChatError(ErrorCode.MODEL_FAILED, self._words(error, begun))

    def _words(self, error: Exception, begun: bool = False) -> str:
        text = in_words(error, self._openai, self._url, self.config, list(self._models or ()), begun)
        key = self._key()
        return text.replace(key, "***") if key else text

    def _warm_soon(self, chat: Chat) -> None:
        if self._warming is not None:
            self._warming.cancel()
        self._warming = self._loop.create_task(self._warm(chat))

    async def _warm(self, chat: Chat) -> None:
        with contextlib.suppress(ChatError):  # the question will tell
            await self._ask(chat, 1, _Under(time.perf_counter()), lambda text: None)

    def _reply(self, under: _Under, stopped: Any) -> ChatReply:
        usage = under.usage
        details = getattr(usage, "prompt_tokens_details", None)
        mean = sum(under.logprobs) / len(under.logprobs) if under.logprobs else math.nan
        return ChatReply(
            text=under.text,
            confidence=math.exp(min(0.0, mean)) if under.logprobs else math.nan,
            stopped=stopped,
            prompt_tokens=getattr(usage, "prompt_tokens", 0) or 0,
            reused_tokens=getattr(details, "cached_tokens", 0) or 0,
            new_tokens=getattr(usage, "completion_tokens", 0) or len(under.logprobs),
            first_token_s=under.first_s,
            total_s=time.perf_counter() - under.began,
        )
