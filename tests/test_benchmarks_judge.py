"""A judge behind an OpenAI-compatible server: what it is asked, what its marks make; no answer is asked for twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from benchmark_data import score_small, values, write

from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.judge import JudgeConfig


class Judge:
    """Gives the mark that belongs to the first of these words in what it is asked."""

    marks = (("air conditioner", "4"), ("No.", "Your mark: 5"), ("answer: wood\n", "3"), ("living", "5"))

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append({"path": self.path, **body})
                text = body["messages"][0]["content"].split("Your mark:")[-2]
                mark = next((mark for word, mark in outer.marks if word in text), "I can't say")
                reply = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
                reply["choices"] = [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": mark}}
                ]
                data = json.dumps(reply if outer.status == 200 else {"error": {"message": "no such model"}}).encode()
                self.send_response(outer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Judge()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_marks_become_scores(judge: Judge, tmp_path: Path):
    config = JudgeConfig(judge.url, "tiny", marks=tmp_path / "marks.jsonl")
    result = score_small("openeqa", judge=config)
    # 4, 5, 3, 5, unreadable, and None, which is not asked: (0.75 + 1 + 0.5 + 1 + 0 + 0) / 6
    assert values(result)["LLM-Match"] == pytest.approx(100 * 3.25 / 6, abs=1e-5)
    assert values(result)["LLM-Match, object localization"] == 100
    assert result["unreadable_marks"] == 1 and result["asked_now"] == 5
    assert "tiny at http://127.0.0.1" in result["rules"]["judge"] and "not comparable" in result["rules"]["judge"]
    asked = judge.asked[0]
    assert asked["path"] == "/v1/chat/completions" and asked["temperature"] == 0 and asked["model"] == "tiny"
    prompts = [a["messages"][0]["content"] for a in judge.asked]
    assert any("Right as well: living room; next to the window" in p for p in prompts)
    assert any("Given answer: Open the window.\n" in p for p in prompts)  # what follows the last full stop is cut off


def test_marks_are_kept_and_others_asked_again(judge: Judge, tmp_path: Path):
    config = JudgeConfig(judge.url, "tiny", marks=tmp_path / "marks.jsonl")
    first = score_small("openeqa", judge=config)
    again = score_small("openeqa", judge=config)
    assert again["asked_now"] == 1 and len(judge.asked) == 6  # only the one whose mark could not be read
    assert values(again) == values(first)
    other = JudgeConfig(judge.url, "another", marks=tmp_path / "marks.jsonl")
    assert score_small("openeqa", judge=other)["asked_now"] == 5


def test_prompts_of_ones_own(judge: Judge, tmp_path: Path):
    plain = write(tmp_path / "plain.txt", "Q {question} A {answer} R {prediction} Your mark: ")
    extra = write(tmp_path / "extra.txt", "Q {question} A {answer} X {extra_answers} R {prediction} Your mark: ")
    result = score_small("openeqa", judge=JudgeConfig(judge.url, "tiny", plain, extra))
    prompts = [a["messages"][0]["content"] for a in judge.asked]
    assert sum(" X ['living room', " in p for p in prompts) == 1 and all(p.startswith("Q ") for p in prompts)
    assert str(plain) in result["rules"]["judge"]
    wrong = write(tmp_path / "wrong.txt", "{quest}")
    with pytest.raises(BenchmarkError, match=r"can't use the prompt .*wrong\.txt"):
        score_small("openeqa", judge=JudgeConfig(judge.url, "tiny", wrong))


def test_a_server_that_fails_is_no_score_of_zero(judge: Judge):
    judge.status = 404
    with pytest.raises(BenchmarkError, match=r"the judge tiny at .* failed"):
        score_small("openeqa", judge=JudgeConfig(judge.url, "tiny"))
