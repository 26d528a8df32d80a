"""What a stage remembers, as plain values and arrays: for saved maps, and for maps that are made in another process.

A state is a dict of what JSON can hold, of arrays and of bytes. Arrays in it may be those that the stage works on:
they are good until its next frame. A stage that is given a state takes copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from s3d_ros.tiles import block_keys

State = dict[str, Any]


def taken(thing: object, names: Iterable[str]) -> State:
    """Return the attributes of these names; in the state they have no leading underscores."""
    return {name.lstrip("_"): _plain(getattr(thing, name)) for name in names}


def put(thing: object, state: State, names: Iterable[str]) -> None:
    """Set the attributes of these names to what ``taken`` returned."""
    for name in names:
        setattr(thing, name, state[name.lstrip("_")])


def joined(parts: Sequence[State]) -> State:
    """Return one state of several of a ``Fusion``, each holding some blocks; of a block the last one counts.

    Where that says that the block is no more (its weights are below 0), it is left out.
    """
    whole = {k: np.concatenate([p[k] for p in parts]) for k in ("blocks", "tsdf", "weight", "color")}
    last = len(whole["blocks"]) - 1 - np.unique(block_keys(whole["blocks"])[::-1], return_index=True)[1]
    last.sort()
    last = last[whole["weight"][last, 0, 0, 0] >= 0]
    return {**parts[-1], **{k: v if len(last) == len(v) else v[last] for k, v in whole.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, list | tuple) else value
