"""Shards: tar files in WebDataset's layout, one sample a scene, with an index beside each.

Why this: every reader of WebDataset takes them as they are, ``tar tf`` shows what is in them, Python's own ``tarfile``
writes and reads them, and they are read in long runs from any disk or store. A scene's pictures are in it once, however
many questions there are about it. The index (``train-00000.json``) holds where each member lies, so that a reader may
also go straight to one picture. The same members make the same bytes: no times, no owners.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s3d_ros.train.problems import DatasetError

Members = Sequence[tuple[str, bytes]]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that whoever looks finds all of it or nothing, after a crash, too."""
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    with half.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def write_scene(path: Path, members: Members) -> None:
    """Write one scene's members as a tar of their own, whole or not at all."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    write_atomically(path, buffer.getvalue())


def join_scenes(scenes: Sequence[tuple[str, Path, Mapping[str, Any]]], shard: Path) -> None:
    """Join scenes' tars into a shard and write its index, which comes last: a shard without one is not there.

    scenes: (key, its tar, what the index says of it).
    """
    half = shard.with_name(f".{shard.name}.{os.getpid()}.half")
    listed = []
    with half.open("wb") as raw:
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as out:
            for key, path, about in scenes:
                members = {}
                with tarfile.open(path, "r:") as tar:
                    for info in tar:
                        data = tar.extractfile(info)
                        assert data is not None
                        out.addfile(info, data)
                        members[info.name] = [out.offset - -(-info.size // 512) * 512, info.size]
                listed.append({"scene": key, **about, "members": members})
        raw.flush()
        os.fsync(raw.fileno())
    size = half.stat().st_size
    half.replace(shard)
    index = {"shard": shard.name, "bytes": size, "scenes": listed}
    write_atomically(shard.with_suffix(".json"), (json.dumps(index, ensure_ascii=False) + "\n").encode())


def shard_indices(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the index files of a set and what is in them, by name. Raises DatasetError."""
    for path in sorted(folder.glob("*-[0-9][0-9][0-9][0-9][0-9].json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            assert isinstance(data["bytes"], int) and isinstance(data["scenes"], list)
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            raise DatasetError(
                f"{path} is no index of a shard ({type(error).__name__}: {error}); remove it and its .tar, and build on"
            ) from error
        yield path, data
