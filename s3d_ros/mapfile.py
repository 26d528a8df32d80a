"""A map as a directory of plain files (docs/map_directory.md); whatever happens meanwhile, the last one is whole.

The directory holds the map in a folder ``map-NNNNNN``, NNNNNN counting the saves. A new one is written beside it
under another name, brought to the disk, and then renamed, which is one step: whoever looks finds the old map or the
new one, never a part. The one with the highest number counts. This module imports neither ROS nor Open3D.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3d_ros.state import State

FORMAT, VERSION = "s3d_ros map", 1
SUMS = "SHA256SUMS"
_NAME = re.compile(r"map-(\d{6,})")
_LEFT_OVER = (".writing-", ".removing-")
_LOCK = ".lock"
_PARTS = {"fusion": "surface", "objects": "objects", "views": "views", "past": "past"}  # of the state -> file names
_ARRAY = "npz"  # {"npz": name} stands for an array
_BYTES = "bytes"  # {"bytes": [start, end]} stands for a part of the array "bytes"
_LEVEL = 1  # of zlib: four times as fast as the usual 6, and nearly as small


class MapFileError(ValueError):
    """A map that can't be written or read; the message names the file and says what can be done."""


def write_map(directory: str | Path, state: State) -> Path:
    """Write ``Pipeline.state()`` as the directory's newest map, remove older ones; return the folder it is in.

    Raises MapFileError when the directory holds anything else, is in use, or can't be written; an older map stays.
    """
    directory = check_target(directory)
    with _words_of_errors(directory, "written"):
        directory.mkdir(parents=True, exist_ok=True)
        with _alone(directory):
            for path in directory.iterdir():
                if path.name.startswith(_LEFT_OVER):  # of a save that was killed
                    shutil.rmtree(path)
            older = _versions(directory)
            number = max(older, default=0) + 1
            work = directory / f"{_LEFT_OVER[0]}{number:06d}"
            try:
                work.mkdir()
                _write(work, state)
                made = work.rename(directory / f"map-{number:06d}")
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
            _to_disk(directory)
            for path in older.values():  # renamed first: half a map must not look like one
                shutil.rmtree(path.rename(directory / f"{_LEFT_OVER[1]}{path.name}"))
    return made


def read_map(directory: str | Path) -> State:
    """Return the state that was written last, for ``Pipeline.restore``.

    Raises MapFileError, naming the file, when there is none, when it is damaged or of another version.
    """
    directory = Path(directory).expanduser()
    while True:
        newest = newest_map(directory)
        if newest is None:
            raise MapFileError(
                f"{directory} holds no map; one is made by the service save_map or s3d replay --save-map"
            )
        try:
            with _words_of_errors(newest, "read"):
                return _read(newest)
        except MapFileError:
            if newest_map(directory) == newest:  # else it was replaced while it was read
                raise


def newest_map(directory: str | Path) -> Path | None:
    """Return the folder of the newest map in a directory, None if there is none. It is not looked into."""
    versions = _versions(Path(directory).expanduser())
    return versions[max(versions)] if versions else None


def check_target(directory: str | Path) -> Path:
    """Return the path of a directory that a map may be written into. Raises MapFileError if it holds anything else."""
    directory = Path(directory).expanduser()
    if directory.exists() and not directory.is_dir():
        raise MapFileError(f"{directory} is a file: name a folder for the map")
    with _words_of_errors(directory, "read"):
        names = sorted(path.name for path in directory.iterdir()) if directory.exists() else []
    other = [n for n in names if not (_NAME.fullmatch(n) or n.startswith(_LEFT_OVER) or n == _LOCK)]
    if other:
        raise MapFileError(f"{directory} holds other things ({other[0]}): name an empty folder, or one with a map")
    return directory


def _versions(directory: Path) -> dict[int, Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return {int(m[1]): path for path in directory.iterdir() if (m := _NAME.fullmatch(path.name))}
    return {}


# --- writing ----------------------------------------------------------------------------------------------------


def _write(work: Path, state: State) -> None:
    (work / "views").mkdir()
    sums: dict[str, str] = {}

    def put(name: str, data: bytes) -> None:
        sums[name] = hashlib.sha256(data).hexdigest()
        with open(work / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    about = {k: v for k, v in state.items() if k not in (*_PARTS, "bev", "picture")}
    owned = np.count_nonzero(state["objects"]["voxels"]["owner"])
    counts = {"blocks": len(state["fusion"]["blocks"]), "voxels": int(owned)}
    counts |= {"objects": sum(o["id"] > 0 for o in state["objects"]["objects"]), "views": len(state["views"]["views"])}
    bev = {k: v for k, v in state["bev"].items() if k != "seen"}
    head = {"format": FORMAT, "version": VERSION, "saved_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    put("map.json", _json({**head, "counts": counts, **about, "bev": bev}))
    put("seen.png", _png(np.asarray(state["bev"]["seen"], np.uint8) * 255))
    if state.get("picture") is not None:
        put("bev.png", _png(np.asarray(state["picture"])[..., ::-1]))
    views = []
    for view in state["views"]["views"]:
        name = f"views/{view['id']:04d}.jpg"
        put(name, view["jpeg"])
        views.append({**view, "jpeg": name})
    parts = {**state, "views": {**state["views"], "views": views}}
    for key, name in _PARTS.items():
        bulk = _Bulk()
        put(f"{name}.json", _json(bulk.without(parts[key] or {})))
        put(f"{name}.npz", _npz(bulk.arrays()))
    put(SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode())
    for folder in (work / "views", work):
        _to_disk(folder)


class _Bulk:
    """What is too large for JSON: arrays by name, and bytes, one after the other."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._bytes: list[bytes] = []
        self._size = 0

    def without(self, value: Any, name: str = "") -> Any:
        """Return the value with {"npz": name} in place of each array, {"bytes": [start, end]} in place of bytes."""
        if isinstance(value, np.ndarray):
            self._arrays[name] = value
            return {_ARRAY: name}
        if isinstance(value, bytes):
            self._bytes.append(value)
            self._size += len(value)
            return {_BYTES: [self._size - len(value), self._size]}
        if isinstance(value, Mapping):
            return {k: self.without(v, f"{name}.{k}".lstrip(".")) for k, v in value.items()}
        if isinstance(value, list):
            return [self.without(v, f"{name}.{i}") for i, v in enumerate(value)]
        return value

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it; bytes are one array."""
        return {**self._arrays, **({_BYTES: np.frombuffer(b"".join(self._bytes), np.uint8)} if self._bytes else {})}


def _json(values: Mapping[str, Any]) -> bytes:
    """JSON for people: a line for each key, and for each thing in a list of things."""
    lines = []
    for key, value in values.items():
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in value)
            text = "[\n  " + ",\n  ".join(rows) + "]"
        lines.append(f" {json.dumps(key)}: {text}")
    return ("{\n" + ",\n".join(lines) + "}\n").encode()


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, values in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, np.asanyarray(values), allow_pickle=False)
            kind = zipfile.ZIP_STORED if name == _BYTES else zipfile.ZIP_DEFLATED  # images are compressed already
            archive.writestr(f"{name}.npy", data.getbuffer(), kind, _LEVEL)
    return out.getvalue()


def _png(image: np.ndarray) -> bytes:
    if not image.size:  # OpenCV refuses to write nothing
        image = np.zeros((1, 1), np.uint8)
    ok, data = cv2.imencode(".png", np.ascontiguousarray(image))
    assert ok
    return data.tobytes()


def _to_disk(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep other programs from writing here meanwhile; the kernel lets go of it when this one is killed."""
    with open(directory / _LOCK, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MapFileError(f"another program is saving its map to {directory}: name another folder") from error
        yield


@contextlib.contextmanager
def _words_of_errors(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MapFileError(
            f"{error.filename or path} can't be {done}: {(error.strerror or str(error)).lower()}"
        ) from error


# --- reading ----------------------------------------------------------------------------------------------------


def _read(folder: Path) -> State:
    files = _sound(folder)
    about = json.loads(files["map.json"])  # what it holds was checked
    if about.get("format") != FORMAT or about.get("version") != VERSION:
        raise MapFileError(
            f"{folder / 'map.json'} is of format {about.get('format')!r}, version {about.get('version')!r}; this "
            f"program reads {FORMAT!r}, version {VERSION}: load it with the s3d_ros that wrote it"
        )
    try:
        state: State = {k: v for k, v in about.items() if k not in ("format", "version", "saved_at", "counts")}
        for key, name in _PARTS.items():
            with np.load(io.BytesIO(files[f"{name}.npz"]), allow_pickle=False) as arrays:
                state[key] = _with_arrays(json.loads(files[f"{name}.json"]), dict(arrays))
        for view in state["views"]["views"]:
            view["jpeg"] = files[view["jpeg"]]
        seen = cv2.imdecode(np.frombuffer(files["seen.png"], np.uint8), cv2.IMREAD_GRAYSCALE)
        state["bev"]["seen"] = np.asarray(seen) > 0
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile, cv2.error) as error:
        raise MapFileError(
            f"{folder} was not written by this program ({type(error).__name__}: {error}): restore it from a copy"
        ) from error
    return state


def _sound(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files. Raises MapFileError unless each is there and is what was written."""
    mend = "the map is damaged: restore it from a copy, or move it away and make a new one"
    files: dict[str, bytes] = {}
    for number, line in enumerate(_bytes_of(folder / SUMS, mend).decode(errors="replace").splitlines(), start=1):
        row = re.fullmatch(r"([0-9a-f]{64})  ([\w./-]+)", line)
        if row is None or ".." in row[2]:
            raise MapFileError(f"{folder / SUMS}, line {number}, is no checksum; {mend}")
        data = _bytes_of(folder / row[2], mend)
        if hashlib.sha256(data).hexdigest() != row[1]:
            raise MapFileError(f"{folder / row[2]} is not what was written; {mend}")
        files[row[2]] = data
    needed = {"map.json", "seen.png", *(f"{name}.{kind}" for name in _PARTS.values() for kind in ("json", "npz"))}
    for name in sorted(needed - set(files)):
        raise MapFileError(f"{folder / SUMS} does not tell of {name}; {mend}")
    return files


def _bytes_of(path: Path, mend: str) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise MapFileError(f"{path} is missing; {mend}") from error


def _with_arrays(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY} and isinstance(value[_ARRAY], str):
            return arrays[value[_ARRAY]]
        if set(value) == {_BYTES} and isinstance(value[_BYTES], list):
            start, end = value[_BYTES]
            return arrays[_BYTES][start:end].tobytes()
        return {k: _with_arrays(v, arrays) for k, v in value.items()}
    return [_with_arrays(v, arrays) for v in value] if isinstance(value, list) else value
