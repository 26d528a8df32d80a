"""Servers for tests: `transformers serve` with a tiny model, and one that does what it is told to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_llava(folder: Path) -> Path:
    """Write a LLaVA of 2 layers with random weights. One token a byte, 4 tokens an image; its processor needs no video,
    so `transformers serve` loads it where torchvision is not there."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
    )
    pictures = CLIPImageProcessorPil(size={"height": 28, "width": 28}, do_center_crop=False)
    processor = LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    words = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=65536,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=vision.to_dict(),
        text_config=words.to_dict(),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        image_seq_length=4,
    )
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@contextmanager
def transformers_serve(model: Path, port: int | None = None) -> Iterator[str]:
    """Run `transformers serve MODEL`; yields its URL."""
    port = port or free_port()
    cache = model.parent / "empty_cache"
    cache.mkdir(exist_ok=True)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--default-seed", "0"]
    log = model.parent / f"serve-{port}.log"
    with open(log, "w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(1200):
            if process.poll() is not None:
                raise RuntimeError(f"transformers serve ended: {log.read_text()[-2000:]}")
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).read()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError(f"transformers serve did not start: {log.read_text()[-2000:]}")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Scripted:
    """A server that does in turn what it is told to, and the last for ever; keeps what it was sent.

    do: gets the handler of a POST. models: what GET /v1/models lists.
    """

    def __init__(self, *do: Callable[[Handler], None], models: Any = ({"id": "tiny"},), port: int = 0) -> None:
        self.do, self.models = list(do), models
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.gone = threading.Event()  # the client hung up
        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self._http.scripted = self  # type: ignore[attr-defined]
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def log_message(self, *_: object) -> None:
        pass

    @property
    def scripted(self) -> Scripted:
        return self.server.scripted  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        self.reply(200, {"object": "list", "data": [{"object": "model", **m} for m in self.scripted.models]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        s = self.scripted
        s.requests.append(json.loads(body))
        s.headers.append({k.lower(): v for k, v in self.headers.items()})
        (s.do.pop(0) if len(s.do) > 1 else s.do[0])(self)

    def reply(self, status: int, body: Any, **headers: str) -> None:
        """Send JSON."""
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: Any) -> None:
        """Send one event."""
        text = f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        self.wfile.flush()

    def say(self, text: str, finish: str | None = None, logprob: float | None = None, **more: Any) -> None:
        """Send one piece of a reply."""
        choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        if logprob is not None:
            choice["logprobs"] = {"content": [{"token": text, "logprob": logprob, "top_logprobs": []}]}
        self.chunk({"id": "1", "object": "chat.completion.chunk", "created": 0, "choices": [choice], **more})

    def end_stream(self) -> None:
        self.chunk("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def wait_for_hang_up(self, seconds: float = 20.0) -> None:
        """Say blanks until the client is gone."""
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                self.say(".")
                time.sleep(0.01)
        except OSError:
            self.scripted.gone.set()
            self.close_connection = True


def says(*words: str, finish: str = "stop", logprob: float | None = None, **usage: Any) -> Callable[[Handler], None]:
    """Return what streams these words."""

    def do(handler: Handler) -> None:
        handler.begin_stream()
        for word in words:
            handler.say(word, logprob=logprob)
        handler.say("", finish)
        if usage:
            handler.chunk({"id": "1", "object": "chat.completion.chunk", "created": 0, "choices": [], "usage": usage})
        handler.end_stream()

    return do


def fails(status: int, body: Any, **headers: str) -> Callable[[Handler], None]:
    """Return what replies with an error."""
    return lambda handler: handler.reply(status, body, **headers)
