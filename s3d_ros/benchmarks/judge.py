"""A language model marks answers from 1 to 5, through any OpenAI-compatible server (OpenEQA's LLM-Match).

Marks depend on the model and on the prompt; both are stated in the result. The prompt here is this package's own: for
figures that can be laid beside published ones give OpenEQA's files and the model it names. Marks are kept in a file, so
that what was judged is not judged again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3d_ros.benchmarks.annotations import QaItem
from s3d_ros.benchmarks.files import BenchmarkError, read_rows

_PROMPT = """\
You mark an answer to a question about a home or an office. You know a right answer{and_more}.
Give a whole number from 1 to 5 and nothing else: 5 if the answer says the same as {a_right_one}, 1 if it says \
something else altogether, and numbers in between for an answer that is partly right or too vague to tell.

Question: Which room has the piano?
Right answer: the living room
Given answer: it stands in the living room
Your mark: 5

Question: What is on the stove?
Right answer: a red pot
Given answer: a pan
Your mark: 2

Question: {question}
Right answer: {answer}
{also}Given answer: {prediction}
Your mark:"""


@dataclass(frozen=True)
class JudgeConfig:
    """url: of the server's API, such as http://localhost:8000/v1. model: as the server calls it.

    prompt, extra_prompt: files of a prompt of one's own, with {question}, {answer}, {prediction}, and for questions
    with several right answers {extra_answers}. marks: JSONL file that marks are kept in. parallel: questions at a time.
    """

    url: str
    model: str
    prompt: Path | None = None
    extra_prompt: Path | None = None
    marks: Path | None = None
    parallel: int = 4
    timeout_s: float = 120.0
    seed: int = 1234
    temperature: float = 0.0
    max_new_tokens: int = 32


@dataclass(frozen=True)
class Judged:
    """A mark for each question, 1 to 5; None where the judge's words held none. fresh: how many were asked for now."""

    marks: tuple[int | None, ...]
    fresh: int


def read_mark(text: str) -> int | None:
    """Return the mark in a judge's words: what follows "mark:", or the number that they are; None for neither.

    >>> read_mark("4"), read_mark("Your mark: 5"), read_mark("Good, 3 of 5"), read_mark("9")
    (4, 5, None, 5)
    """
    found = re.fullmatch(r"\s*(-?\d+)\s*\.?\s*", text) or re.search(r"mark:\s*(-?\d+)", text, re.IGNORECASE)
    return min(max(int(found[1]), 1), 5) if found else None


def cut_to_sentences(text: str) -> str:
    """Leave out what follows the last full stop, as OpenEQA does with answers that were cut off.

    >>> cut_to_sentences("On the desk. It is next to")
    'On the desk.'
    """
    end = text.rfind(".")
    return text[: end + 1] if 0 <= end < len(text) - 1 else text


def make_prompt(item: QaItem, prediction: str, config: JudgeConfig) -> str:
    """Return what the judge is asked. Raises BenchmarkError for a prompt file that can't be used."""
    extra = list(item.answers[1:])
    path = config.extra_prompt if extra and config.extra_prompt else config.prompt
    values = {"question": item.question, "answer": item.answers[0], "prediction": prediction}
    if path is None:
        return _PROMPT.format(
            **values,
            and_more=", and others that are right too" if extra else "",
            a_right_one="any of the right ones" if extra else "the right one",
            also=f"Right as well: {'; '.join(extra)}\n" if extra else "",
        )
    try:
        return path.read_text(encoding="utf-8").format(**values, extra_answers=extra)
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise BenchmarkError(f"can't use the prompt {path}: {error!r}") from error


def judge(
    items: Sequence[QaItem],
    predictions: Sequence[str],
    config: JudgeConfig,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Judged:
    """Have all predictions marked; one without any words gets a 1 unasked. Raises BenchmarkError if no server answers.

    Equal model, prompt and settings give the mark that was kept.
    """
    prompts = [make_prompt(item, cut_to_sentences(said), config) for item, said in zip(items, predictions, strict=True)]
    keys = [_key(prompt, config) for prompt in prompts]
    kept = _read_marks(config.marks)
    todo = [i for i, said in enumerate(predictions) if said.strip() and keys[i] not in kept]
    client = _client(config) if todo else None
    lock, done = threading.Lock(), 0

    def ask(i: int) -> None:
        nonlocal done
        mark = read_mark(_reply(client, prompts[i], config))
        with lock:
            kept[keys[i]] = mark
            done += 1
            if config.marks is not None and mark is not None:
                with config.marks.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": keys[i], "id": items[i].id, "mark": mark}) + "\n")
            progress(done, len(todo))

    with ThreadPoolExecutor(max(config.parallel, 1)) as pool:
        futures = [pool.submit(ask, i) for i in todo]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    marks = tuple(kept[key] if said.strip() else 1 for key, said in zip(keys, predictions, strict=True))
    return Judged(marks, len(todo))


def describe_judge(config: JudgeConfig) -> str:
    """Say who judges by which prompt."""
    files = [str(p) for p in (config.prompt, config.extra_prompt) if p is not None]
    return f"{config.model} at {config.url}, prompt: {' and '.join(files) or 'of s3d_ros, not comparable with others'}"


def _key(prompt: str, config: JudgeConfig) -> str:
    settings = (config.model, config.seed, config.temperature, config.max_new_tokens, prompt)
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:32]


def _read_marks(path: Path | None) -> dict[str, int | None]:
    if path is None or not path.exists() or not path.stat().st_size:
        return {}
    rows = read_rows(path)
    if not all("key" in row and isinstance(row.get("mark"), int) for row in rows):
        raise BenchmarkError(f"{path} holds no marks of a judge; name another file with --marks")
    return {str(row["key"]): int(row["mark"]) for row in rows}


def _client(config: JudgeConfig) -> Any:
    try:
        from openai import OpenAI
    except ModuleNotFoundError as error:
        raise BenchmarkError("a judge needs the package openai: pip install 's3d_ros[openai]'") from error
    # a server of one's own asks for no key, but the client wants one
    key = os.environ.get("OPENAI_API_KEY", "none")
    return OpenAI(base_url=config.url, api_key=key, timeout=config.timeout_s, max_retries=3)


def _reply(client: Any, prompt: str, config: JudgeConfig) -> str:
    from openai import OpenAIError

    try:
        reply = client.chat.completions.create(
            model=config.model,
            messages=[{"role": "user", "content": prompt}],
            temperature=config.temperature,
            seed=config.seed,
            max_tokens=config.max_new_tokens,
        )
    except OpenAIError as error:
        kept = f"; marks so far are in {config.marks}" if config.marks else ""
        raise BenchmarkError(f"the judge {config.model} at {config.url} failed: {error}{kept}") from error
    return (reply.choices[0].message.content or "") if reply.choices else ""
