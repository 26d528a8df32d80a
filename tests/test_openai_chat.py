"""The chat with an OpenAI-compatible server: a real one, and one that does what real ones do on bad days."""

import base64
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from openai_servers import Handler, Scripted, fails, free_port, make_llava, says, transformers_serve
from small_run import write_small_run
from typer.testing import CliRunner

from s3d_ros import cli
from s3d_ros.answer.openai_chat import CONTEXT_TOKENS, OpenAIChat
from s3d_ros.answer.openai_config import OpenAIConfig
from s3d_ros.answer.openai_messages import ImageEncoder, estimated_tokens, harmless
from s3d_ros.chat import Chat, ChatError, ChatImage, Turn
from s3d_ros.keys import ConfigError
from s3d_ros.types import ErrorCode

KEY = "sk-very-secret-0123456789"


def picture(value: int, size: tuple[int, int] = (48, 64)) -> ChatImage:
    return ChatImage(f"picture-{value}-{size}", np.full((*size, 3), value, np.uint8))


def chat(text: str = "What is this?", *images: ChatImage, system: str = "You see.") -> Chat:
    return Chat(system, (Turn("user", ("Frame 1:", *images, text)),), shared_parts=1 + len(images))


@contextmanager
def talk(url: str, **settings: Any) -> Iterator[OpenAIChat]:
    model = OpenAIChat(OpenAIConfig(url=url, **{"timeout_s": 30.0, **settings}))
    try:
        yield model
    finally:
        model.close()


def trouble(
    *do: Callable[[Handler], None], model: str = "", models: Any = ({"id": "tiny"},), **settings: Any
) -> ChatError:
    """Ask a server that does so; return the error."""
    with Scripted(*do, models=models) as server, talk(server.url, model=model, **settings) as openai:
        with pytest.raises(ChatError) as caught:
            openai.ask(chat(), 8)
        return caught.value


# --- what is sent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, safe",
    [
        ("<|im_start|>system", "< |im_start|>system"),
        ("</s><image><start_of_turn>", "< /s>< image>< start_of_turn>"),
        ("<<|im_end|>>", "<< |im_end|>>"),
        ("[INST] go [/INST] [IMG]", "[ INST] go [ /INST] [ IMG]"),
        ("is <OBJ012> left of <OBJ3>, 3 < 4 > 2, x<y and [A] or [b]?", None),
        ("<OBJ0123> <OBJx>", "< OBJ0123> < OBJx>"),
        ("<｜begin▁of▁sentence｜>", "< ｜begin▁of▁sentence｜>"),
    ],
)
def test_control_tokens_are_taken_apart(text: str, safe: str | None):
    assert harmless(text) == (text if safe is None else safe)


def test_messages_have_the_shared_parts_first_and_no_control_tokens():
    asked = Chat(
        "Sys <|x|>",
        (
            Turn("user", ("A", picture(1), "B ", "<|im_", "start|>")),
            Turn("assistant", ("Yes.",)),
            Turn("user", ("And?",)),
        ),
        shared_parts=3,
    )
    with Scripted(says("ok")) as server, talk(server.url) as openai:
        openai.ask(asked, 8)
        sent = server.requests[0]
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert sent["messages"][0]["content"] == "Sys < |x|>"
    kinds = [c["type"] for c in sent["messages"][1]["content"]]
    assert kinds == ["text", "image_url", "text"]
    assert sent["messages"][1]["content"][2]["text"] == "B < |im_start|>"  # joined before it is looked through
    assert sent["messages"][2]["content"] == "Yes." and sent["messages"][3]["content"] == "And?"
    assert (sent["temperature"], sent["max_tokens"], sent["stream"], sent["model"]) == (0, 8, True, "tiny")


@pytest.mark.parametrize("image_format, off", [("png", 0), ("jpeg", 3)])
def test_pictures_arrive_as_they_were(image_format: str, off: int):
    gradient = np.dstack([np.tile(np.arange(64, dtype=np.uint8), (48, 1)) * k for k in (1, 2, 3)])
    with Scripted(says("ok")) as server, talk(server.url, image_format=image_format) as openai:
        openai.ask(chat("?", ChatImage("g", gradient)), 8)
        url = server.requests[0]["messages"][1]["content"][1]["image_url"]["url"]
    head, _, data = url.partition(",")
    assert head == f"data:image/{image_format};base64"
    seen = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(seen.astype(int) - gradient).mean() <= off


def test_a_picture_is_encoded_once_and_the_oldest_is_forgotten():
    encoder = ImageEncoder("png", 95, 1 << 20)
    first = encoder.url(picture(1))
    assert encoder.url(ChatImage(picture(1).key, np.zeros((1, 1, 3), np.uint8))) is first  # by its key alone
    small = ImageEncoder("png", 95, 5 * len(first) // 2)  # two fit
    a = small.url(picture(1))
    small.url(picture(2))
    small.url(picture(1))
    small.url(picture(3))  # 2 was used longest ago
    assert small.url(picture(1)) is a and small.size_bytes <= 5 * len(first) // 2


# --- what comes back --------------------------------------------------------------------------------------------


def test_reply_with_partial_text_confidence_and_usage():
    usage = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
    details = {"prompt_tokens_details": {"cached_tokens": 64}}
    parts: list[str] = []
    with Scripted(says("The ", "mug.", logprob=math.log(0.5), **usage, **details)) as server, talk(server.url) as o:
        reply = o.ask(chat(), 8, parts.append)
    assert (reply.text, reply.stopped) == ("The mug.", "end") and parts == ["The ", "The mug."]
    assert reply.confidence == pytest.approx(0.5)
    assert (reply.prompt_tokens, reply.reused_tokens, reply.new_tokens) == (100, 64, 2)
    assert 0 < reply.first_token_s <= reply.total_s


def test_without_probabilities_the_confidence_is_nan_and_length_is_told():
    with Scripted(says("a", finish="length")) as server, talk(server.url) as openai:
        reply = openai.ask(chat(), 1)
    assert math.isnan(reply.confidence) and reply.stopped == "length"


def test_fields_that_a_server_does_not_know_are_left_out_from_then_on():
    refuse = fails(422, {"detail": "Unexpected fields in the request: {'logprobs', 'stream_options'}"})
    with Scripted(refuse, says("ok")) as server, talk(server.url) as openai:
        assert openai.ask(chat(), 8).text == "ok"
        assert openai.ask(chat(), 8).text == "ok"
        assert len(server.requests) == 3
        assert "logprobs" in server.requests[0]
        assert not any({"logprobs", "stream_options"} & set(r) for r in server.requests[1:])


def test_context_is_the_parameter_then_what_the_server_tells():
    with Scripted(says("ok"), models=[{"id": "tiny", "max_model_len": 4096}]) as server:
        with talk(server.url) as openai:
            openai.ask(chat(), 8)
            assert openai.context_tokens() == 4096
        with talk(server.url, context_tokens=2048) as openai:
            assert openai.context_tokens() == 2048
    with Scripted(says("ok")) as server, talk(server.url) as openai:
        openai.ask(chat(), 8)
        assert openai.context_tokens() == CONTEXT_TOKENS


def test_token_estimate_is_raised_by_what_the_server_counts():
    assert estimated_tokens(picture(0, (384, 512))) >= 14 * 19  # of Qwen2.5-VL
    assert estimated_tokens("<OBJ012>") >= 6
    usage = {"prompt_tokens": 100_000, "completion_tokens": 1, "total_tokens": 100_001}
    with Scripted(says("ok", **usage)) as server, talk(server.url) as openai:
        before = openai.count_tokens("Where is it?")
        openai.ask(chat(), 8)
        assert openai.count_tokens("Where is it?") > 100 * before


def test_warm_sends_the_shared_parts_alone():
    with Scripted(says("ok")) as server, talk(server.url, warm=True) as openai:
        openai.warm(chat("only the question", picture(5)))
        for _ in range(200):
            if server.requests:
                break
            time.sleep(0.02)
        assert [c["type"] for c in server.requests[0]["messages"][1]["content"]] == ["text", "image_url"]
        assert server.requests[0]["max_tokens"] == 1


# --- bad days ---------------------------------------------------------------------------------------------------


def test_429_and_500_are_tried_again():
    busy = fails(429, {"error": {"message": "slow down"}}, Retry_After="0.01")
    down = fails(503, {"error": {"message": "loading"}}, Retry_After="0.01")
    with Scripted(busy, down, says("ok")) as server, talk(server.url, retries=2) as openai:
        assert openai.ask(chat(), 8).text == "ok"
        assert len(server.requests) == 3


def test_other_errors_are_not_tried_again():
    with Scripted(fails(400, {"error": {"message": "bad role"}})) as server, talk(server.url) as openai:
        with pytest.raises(ChatError, match=r"refuses the request \(400\): bad role"):
            openai.ask(chat(), 8)
        assert len(server.requests) == 1


def test_too_busy_for_good():
    error = trouble(fails(429, {"error": {"message": "queue is full"}}), retries=0)
    assert error.code == ErrorCode.MODEL_FAILED and "429" in str(error) and "queue is full" in str(error)


def test_wrong_key_is_told_without_the_key(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv("ROBOT_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    refuse = fails(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
    with Scripted(refuse) as server, talk(server.url, key_variable="ROBOT_KEY") as openai:
        with pytest.raises(ChatError) as caught:
            openai.ask(chat(), 8)
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        shown = f"{caught.value!s} {caught.value!r} {openai!r} {openai.missing()} {openai.config!r} {caplog.text}"
        assert "ROBOT_KEY" in str(caught.value) and "refuses the key" in str(caught.value)
        assert KEY not in shown and caught.value.__cause__ is None
    leak = fails(500, {"error": {"message": f"crashed on {KEY}"}})
    text = str(trouble(leak, retries=0, key_variable="ROBOT_KEY"))
    assert KEY not in text and "***" in text


def test_unknown_model_lists_what_there_is():
    error = trouble(fails(404, {"error": {"message": "The model `big` does not exist."}}), model="big")
    assert "no model 'big'" in str(error) and "offers 'tiny'" in str(error)
    error = trouble(says("ok"), models=[{"id": "a"}, {"id": "b"}])
    assert "Set model; it offers 'a', 'b'" in str(error)


def test_context_too_long():
    said = "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens"
    error = trouble(fails(400, {"error": {"message": said}}))
    assert "too long" in str(error) and "4096" in str(error) and "context_tokens" in str(error)


def test_time_limit():
    def sleeps(handler: Handler) -> None:
        handler.begin_stream()
        handler.say("a")
        handler.wait_for_hang_up()

    error = trouble(sleeps, timeout_s=0.3)
    assert error.code == ErrorCode.DEADLINE and "0.3 s" in str(error)


def test_broken_stream_and_a_stream_without_an_end():
    def breaks(handler: Handler) -> None:
        handler.begin_stream()
        handler.say("The m")
        handler.wfile.flush()
        handler.connection.shutdown(2)

    def stops(handler: Handler) -> None:
        handler.begin_stream()
        handler.say("The m")
        handler.end_stream()

    def fails_within(handler: Handler) -> None:
        handler.begin_stream()
        handler.say("The m")
        handler.chunk({"error": "CUDA out of memory"})

    for do in (breaks, stops):
        assert "broke off in the middle of the reply" in str(trouble(do))
    assert "CUDA out of memory" in str(trouble(fails_within))


def test_cancel_hangs_up():
    cancelled = threading.Event()

    def endless(handler: Handler) -> None:
        handler.begin_stream()
        handler.wait_for_hang_up()

    with Scripted(endless) as server, talk(server.url) as openai:
        reply = openai.ask(chat(), 8, lambda text: cancelled.set(), cancelled)
        assert reply.stopped == "cancelled" and reply.text.startswith(".")
        assert server.gone.wait(10)


def test_redirects_are_not_followed():
    with Scripted(says("elsewhere")) as other:
        error = trouble(fails(307, {}, Location=f"{other.url}/chat/completions"))
        assert "elsewhere (307)" in str(error) and not other.requests


def test_no_server_then_lost_then_back():
    port = free_port()
    with talk(f"http://127.0.0.1:{port}/v1", retries=0) as openai:
        with pytest.raises(ChatError, match=r"no connection to the server at .*is it running"):
            openai.ask(chat(), 8)
        assert "no connection" in openai.missing()
        with Scripted(says("ok"), port=port):
            assert openai.ask(chat(), 8).text == "ok"
            assert openai.missing() == ""
        with pytest.raises(ChatError, match="no connection"):
            openai.ask(chat(), 8)
        with Scripted(says("back"), port=port):
            assert openai.ask(chat(), 8).text == "back"


def test_a_lost_server_is_looked_for_until_it_is_back():
    port = free_port()
    with talk(f"http://127.0.0.1:{port}/v1", retries=0) as openai:
        with Scripted(says("ok"), port=port):
            assert openai.ask(chat(), 8).text == "ok"
        with pytest.raises(ChatError):
            openai.ask(chat(), 8)
        assert "no connection" in openai.missing()
        with Scripted(says("back"), port=port):
            for _ in range(1000):
                if not openai.missing():
                    break
                time.sleep(0.02)
            assert openai.missing() == ""


def test_many_at_once():
    with Scripted(says("ok")) as server, talk(server.url) as openai:
        replies: list[str] = []
        threads = [
            threading.Thread(target=lambda: replies.append(openai.ask(chat("?", picture(3)), 8).text))
            for _ in range(16)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert replies == ["ok"] * 16


def test_asking_after_close_is_an_error():
    with Scripted(says("ok")) as server:
        with talk(server.url) as openai:
            pass
        with pytest.raises(ChatError, match="closed"):
            openai.ask(chat(), 8)


@pytest.mark.parametrize(
    "url, told",
    [
        ("", "url is empty"),
        ("http://10.0.0.5:8000/v1", "plain http"),
        ("http://localhost.evil.com/v1", "plain http"),
        ("https://user:secret@host/v1", "name or password"),
        ("ftp://127.0.0.1/v1", "is none"),
        ("http://127.0.0.1:99999/v1", "bad port"),
    ],
)
def test_bad_urls(url: str, told: str):
    with pytest.raises(ConfigError, match=told) as caught:
        OpenAIChat(OpenAIConfig(url=url))
    assert "secret" not in str(caught.value)


def test_http_to_others_only_when_allowed():
    with talk("http://10.255.255.1:9/v1", allow_http=True, connect_s=0.1, retries=0):
        pass
    for url in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1/v1", "https://example.invalid"):
        with talk(url, connect_s=0.1, retries=0) as openai:
            assert "/v1" in repr(openai)


# --- a real server ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llava(tmp_path_factory.mktemp("served") / "tiny-llava")


@pytest.fixture(scope="module")
def served(llava: Path) -> Iterator[str]:
    with transformers_serve(llava) as url:
        yield url


def test_real_server_gives_what_the_model_says(served: str, llava: Path):
    """Greedy text of the same model in this process, from the same pixels and words."""
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    image = ChatImage("noise", np.random.default_rng(0).integers(0, 255, (28, 28, 3), dtype=np.uint8))
    asked = chat("Is <OBJ001> a <|im_end|> mug?", image)
    parts: list[str] = []
    with talk(served, model=str(llava), image_format="png") as openai:
        reply = openai.ask(asked, 12, parts.append)
        again = openai.ask(asked, 12)
    processor = AutoProcessor.from_pretrained(llava)
    model = LlavaForConditionalGeneration.from_pretrained(llava, dtype=torch.float32).eval()
    told = [
        {"role": "system", "content": "You see."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Frame 1:"},
                {"type": "image", "image": image.pixels},
                {"type": "text", "text": "Is <OBJ001> a < |im_end|> mug?"},
            ],
        },
    ]
    inputs = processor.apply_chat_template(
        told, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    with torch.no_grad():
        out = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    expected = processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert reply.text == again.text == parts[-1] and len(parts) > 1
    assert reply.text.rstrip("\ufffd") == expected.rstrip("\ufffd") != ""  # half a character is held back
    assert reply.prompt_tokens == inputs["input_ids"].shape[1] and reply.new_tokens == 12
    assert reply.stopped == "length" and math.isnan(reply.confidence)


def test_control_tokens_of_a_question_do_not_reach_the_real_model(served: str, llava: Path):
    """An image token without an image would fail; an end of turn would cost one token and not nine."""
    with talk(served, model=str(llava)) as openai:
        reply = openai.ask(chat("<image>", picture(9)), 2)
        longer = openai.ask(chat("<image><image>", picture(9)), 2)
    assert longer.prompt_tokens - reply.prompt_tokens == len("< image>")


def test_real_server_with_another_model_says_so(served: str):
    with talk(served, model="no-such-model") as openai, pytest.raises(ChatError, match="no model 'no-such-model'"):
        openai.ask(chat(), 2)


def test_real_server_stops_when_cancelled_and_answers_the_next(served: str, llava: Path):
    cancelled = threading.Event()
    with talk(served, model=str(llava)) as openai:
        reply = openai.ask(chat("Go on.", picture(1)), 20000, lambda text: cancelled.set(), cancelled)
        assert reply.stopped == "cancelled"
        assert openai.ask(chat("And now?", picture(1)), 3).new_tokens == 3


def test_real_server_lost_and_started_again(llava: Path):
    port = free_port()
    with talk(f"http://127.0.0.1:{port}", model=str(llava), retries=0) as openai:
        with transformers_serve(llava, port):
            assert openai.ask(chat(), 2).new_tokens == 2
        with pytest.raises(ChatError, match="no connection") as caught:
            openai.ask(chat(), 2)
        assert caught.value.code == ErrorCode.MODEL_FAILED
        with transformers_serve(llava, port):
            assert openai.ask(chat(), 2).new_tokens == 2


def test_ask_on_the_command_line_through_the_real_server(served: str, llava: Path, tmp_path: Path):
    """A run's scene, GPT4Scene's prompt, the server, and back; what the model saw is on disk."""
    write_small_run(tmp_path / "run")
    told = ["--server", served, "--model", str(llava), "--set", "max_new_tokens=6", "--set", "server.retries=0"]
    shown = ["--show", str(tmp_path / "seen"), "--json"]
    result = CliRunner().invoke(cli.app, ["ask", str(tmp_path / "run"), "Is the table red?", *told, *shown])
    row = json.loads(result.stdout.splitlines()[-1])
    assert row["answered_by"] == "openai" and row["map_version"] == 3
    assert row["error"] in ("", "NOT_SETTLED") and "the map holds 1 table: #1" in row["measured"]
    assert (result.exit_code == 0) == row["success"]
    text = (tmp_path / "seen" / "prompt.txt").read_text()
    assert "Is the table red?" in text and "<OBJ001> (table)" in text and "[reply]" in text
    assert len(list((tmp_path / "seen").glob("*.png"))) == 2  # the view frame and the bird's-eye view
    known = CliRunner().invoke(cli.app, ["ask", str(tmp_path / "run"), "How many chairs are there?", *told, *shown])
    assert json.loads(known.stdout.splitlines()[-1])["answered_by"] == "geometric" and known.exit_code == 0
