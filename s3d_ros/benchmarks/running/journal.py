"""What was answered so far, a line a question, so that a run that was killed goes on where it was.

A line is written in one piece and lies on the disk before the next question counts as answered. What a kill leaves of a
half line is cut off. Beside it lies what the answers depend on; answers to something else are never mixed in.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from s3d_ros.benchmarks.files import BenchmarkError

ANSWERS, PROMPTS, SETTINGS = "answers.jsonl", "prompts.jsonl", "settings.json"


class Journal:
    """The answers of one variant in a folder. Safe to use from several threads; one process at a time."""

    def __init__(self, folder: Path, depends_on: Mapping[str, Any]) -> None:
        """Open or begin it. depends_on: plain values by name. Raises BenchmarkError naming what has changed."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = threading.Lock()
        self._held = open(folder / ".lock", "a")  # noqa: SIM115 held until close
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._held.close()
            raise BenchmarkError(
                f"{folder} is being written by another run: wait for it, or give another --out"
            ) from None
        try:
            check_same(folder / SETTINGS, depends_on, folder)
            self.rows: dict[str, dict[str, Any]] = {row["id"]: row for row in _whole_lines(folder / ANSWERS)}
            _whole_lines(folder / PROMPTS)
        except BaseException:
            self._held.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def add(self, row: dict[str, Any], prompt: dict[str, Any] | None = None) -> None:
        """Keep an answer, and what was said to a model for it. A later answer to a question replaces an earlier."""
        with self._lock:
            if prompt is not None:
                _append(self.folder / PROMPTS, {"id": row["id"], **prompt})
            _append(self.folder / ANSWERS, row)
            self.rows[row["id"]] = row


def check_same(path: Path, depends_on: Mapping[str, Any], folder: Path) -> None:
    """Compare with what an earlier run noted, or note it. Raises BenchmarkError naming the first that differs."""
    plain = json.loads(json.dumps(depends_on))
    if not path.exists():
        half = path.with_suffix(".half")
        half.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        half.replace(path)
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BenchmarkError(f"{path} is damaged ({error}): remove {folder}, or give another --out") from error
    for name in (*plain, *(n for n in earlier if n not in plain)):
        if plain.get(name) != earlier.get(name):
            raise BenchmarkError(
                f"{folder} holds answers that were given with {name} = {_short(earlier.get(name))}, and now it is "
                f"{_short(plain.get(name))}: give another --out, or remove that folder"
            )


def read_prompts(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what was said to a model, by question; the last of each."""
    return {row["id"]: row for row in _whole_lines(folder / PROMPTS)}


def _append(path: Path, row: Mapping[str, Any]) -> None:
    data = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
    with path.open("ab", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a file and cut off a half one at its end. Raises BenchmarkError for a broken one before it."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    out = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            row["id"]
        except (ValueError, KeyError, TypeError) as error:
            raise BenchmarkError(f"{path}, line {number}, is damaged ({error}): remove that line to go on") from error
        out.append(row)
    return out


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
