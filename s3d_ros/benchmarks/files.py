"""Reading of JSON and JSONL whose makers don't agree on much. Complaints name the file, the entry and the mend."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


class BenchmarkError(ValueError):
    """Annotations, predictions or settings that can't be scored; the message says why and how to mend it."""


class Pairs(dict[str, Any]):
    """A JSON object that remembers the keys that it was given more than once (``json`` keeps the last value only)."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def read_json(path: Path) -> Any:
    """Read a JSON file, or a list of the lines of a JSONL file. Objects come as ``Pairs``. Raises BenchmarkError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"can't read {path}: {error}") from error
    if not text.strip():
        raise BenchmarkError(f"{path} is empty")
    try:
        return json.loads(text, object_pairs_hook=Pairs)
    except ValueError as error:
        if path.suffix not in (".jsonl", ".ndjson"):
            raise BenchmarkError(f"{path} is no JSON ({error}); lines of JSON need the ending .jsonl") from error
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append(json.loads(line, object_pairs_hook=Pairs))
            except ValueError as error:
                raise BenchmarkError(f"{path}, line {number}: no JSON ({error}); was the file cut off?") from error
    return rows


def read_rows(path: Path, under: str = "") -> list[Mapping[str, Any]]:
    """Read a list of objects, if need be the one that lies under a key. Raises BenchmarkError."""
    data = read_json(path)
    if isinstance(data, dict) and under in data:
        data = data[under]
    if isinstance(data, dict) and path.suffix in (".jsonl", ".ndjson"):  # of one line
        data = [data]
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise BenchmarkError(f"{path} must hold a list of objects" + (f' under "{under}"' if under else ""))
    if not data:
        raise BenchmarkError(f"{path} holds an empty list")
    return data


def need(row: Mapping[str, Any], key: str, path: Path, index: int) -> Any:
    """Return a value of an entry. Raises BenchmarkError that names the file, the entry and the key."""
    if row.get(key) is None:
        raise BenchmarkError(f'{path}, entry {index}: no "{key}" (it has {", ".join(sorted(row)) or "nothing"})')
    return row[key]


def need_integer(row: Mapping[str, Any], key: str, path: Path, index: int) -> int:
    """Return an integer of an entry; ScanRefer writes them as text. Raises BenchmarkError."""
    value = need(row, key, path, index)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise BenchmarkError(f'{path}, entry {index}: "{key}" is {value!r}, not a whole number') from None


def need_texts(row: Mapping[str, Any], key: str, path: Path, index: int) -> tuple[str, ...]:
    """Return a list of texts, at least one, of an entry. Raises BenchmarkError."""
    value = need(row, key, path, index)
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise BenchmarkError(f'{path}, entry {index}: "{key}" must be a list of texts, at least one, not {value!r}')
    return tuple(value)


def refuse_doubled(ids: Iterable[str], path: Path) -> None:
    """Raise BenchmarkError when an id comes more than once: which of the two would be the truth?"""
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            raise BenchmarkError(f"{path}: the id {one!r} is given twice; take one of the two out")
        seen.add(one)
