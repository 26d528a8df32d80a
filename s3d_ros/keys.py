"""What typed config classes are made of: values with a range, and how they come from files and from dotted keys.

A config is a frozen dataclass whose fields are values (:func:`number`, :func:`choice`, :func:`plain`) or such classes.
The metadata of a field (``range``, ``options``, ``doc``) also make the ROS parameters and the commented YAML file.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

T = TypeVar("T")


class ConfigError(ValueError):
    """A key or value that can't be used; the message names it and says what would be right."""


def number(default: Any, low: float = -math.inf, high: float = math.inf, doc: str = "") -> Any:
    """Return a dataclass field for a number from ``low`` to ``high``."""
    return field(default=default, metadata={"range": (low, high), "doc": doc})


def choice(default: str, options: tuple[str, ...], doc: str = "") -> Any:
    """Return a dataclass field for one of some words."""
    return field(default=default, metadata={"options": options, "doc": doc})


def plain(default: Any, doc: str = "") -> Any:
    """Return a dataclass field for any value of the field's type."""
    return field(default=default, metadata={"doc": doc})


def read_keys(path: str | Path) -> dict[str, Any]:
    """Return the nested keys of a YAML file. Raises ConfigError naming the file."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read the config {path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no keys")
    return data


def from_dict(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Make a config of nested keys; what is not given has its default. Raises ConfigError naming the key.

    where: of these keys, for messages: "fusion."
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where.rstrip('.') or 'the config'} must hold keys, not {values!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    made: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"unknown config key {where + str(key)!r}{nearest(str(key), list(fields))}")
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            made[key] = from_dict(hint, value, f"{where}{key}.")  # type: ignore[arg-type]
        else:
            made[key] = _checked(where + key, value, hint, fields[key].metadata)
    return cls(**made)


def with_values(config: T, values: Mapping[str, Any]) -> T:
    """Return a copy with dotted keys (``fusion.voxel_size_m``) replaced. Raises ConfigError naming the key."""
    known = _dotted(config)
    nested: dict[str, Any] = dataclasses.asdict(config)  # type: ignore[call-overload]
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"unknown config key {key!r}{nearest(key, known)}")
        *parts, name = key.split(".")
        held = nested
        for part in parts:
            held = held[part]
        held[name] = value
    return from_dict(type(config), nested)


def _dotted(config: Any, where: str = "") -> list[str]:
    """Return the dotted keys of all values."""
    keys = []
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        name = where + item.name
        keys += _dotted(value, f"{name}.") if dataclasses.is_dataclass(value) else [name]
    return keys


def nearest(key: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown key: the known one that was perhaps meant, or all."""
    close = difflib.get_close_matches(key, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _checked(key: str, value: Any, hint: Any, metadata: Mapping[str, Any]) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ConfigError(f"{key} must be {hint.__name__}, not {value!r}")
    low, high = metadata.get("range", (-math.inf, math.inf))
    if isinstance(value, int | float) and not isinstance(value, bool) and not low <= value <= high:
        raise ConfigError(f"{key} = {value!r} is out of range: {low:g} to {high:g}")
    if "options" in metadata and value not in metadata["options"]:
        raise ConfigError(f"{key} = {value!r} is none of {', '.join(metadata['options'])}")
    return value
