"""What a training set is made of: runs, recordings, scans and simulated homes, as scenes with their split.

A *group* is a place. Scenes of one place go to one split, whatever they are called: several renders of a layout, a flat
that the layout is a room of, two scans of a room (scene0000_00, scene0000_01), sequences of one 7-Scenes room, a
recording and a run of it. Which split a group goes to is told by a hash of its name: adding sources moves none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3d_ros.offline.arkitscenes import is_arkitscenes
from s3d_ros.offline.dataset import is_seven_scenes, is_tum
from s3d_ros.offline.scannet import is_scannet_export
from s3d_ros.offline.simulate.layout import LayoutError, load_layout, packaged_layouts
from s3d_ros.train.problems import DatasetError

RUN, RECORDING, HOME = "run", "recording", "home"
LICENCES: Mapping[str, str] = {
    "7-scenes": "Microsoft Research 7-Scenes licence: research, no commercial use",
    "tum": "TUM RGB-D: CC BY 4.0",
    "scannet": "ScanNet terms of use: research, no redistribution",
    "arkitscenes": "ARKitScenes: CC BY-NC-SA 4.0",
    "scannetpp layout": "boxes of ScanNet++ scans (VSI-Bench's metadata), pictures drawn here: ScanNet++ terms of use",
    "arkitscenes layout": "boxes of ARKitScenes scans (VSI-Bench's metadata), pictures drawn here: CC BY-NC-SA 4.0",
    "shipped layout": "Apache-2.0, as this package",
}
UNKNOWN_LICENCE = "not known: whose recording is it?"
_WANTED = (
    "Give a RUN of s3d replay, a bag, a dataset folder (7-Scenes, TUM, ScanNet, ARKitScenes), a folder of several of "
    "these, a layout (JSON, or one that is shipped), or a .txt with one of these a line"
)


@dataclass(frozen=True)
class SceneSource:
    """One scene to be. key: its name, letters, digits, - and _. paths: of layouts, several for a flat; else one.

    name: what official files call it, where it is a scan.
    places: names of what it shows, those of one place share one. truth: folder of truth.json, "" where none is known.
    """

    key: str
    kind: str
    paths: tuple[str, ...]
    places: tuple[str, ...]
    licence: str
    dataset: str
    name: str = ""
    seed: int = 0
    truth: str = ""


def find_sources(given: Sequence[str], homes: int = 1, seed: int = 0) -> list[SceneSource]:
    """Return the scenes that some sources are, sorted by key. homes: renders of each layout. Raises DatasetError."""
    found = [scene for one in given for scene in _expanded(one, Path(), homes, seed)]
    by_key: dict[str, SceneSource] = {}
    for scene in found:
        other = by_key.setdefault(scene.key, scene)
        if other.paths != scene.paths:
            raise DatasetError(
                f"{other.paths[0]} and {scene.paths[0]} would both be called {scene.key!r}; rename one of the folders"
            )
    if not by_key:
        raise DatasetError(f"nothing to make a training set of. {_WANTED}")
    return sorted(by_key.values(), key=lambda s: s.key)


def groups_of(scenes: Iterable[SceneSource]) -> dict[str, str]:
    """Return the group of each scene: scenes that share a place, also through others, are one group."""
    root: dict[str, str] = {}

    def find(place: str) -> str:
        while root.setdefault(place, place) != place:
            place = root[place]
        return place

    scenes = list(scenes)
    for scene in scenes:
        for place in scene.places[1:]:
            a, b = sorted((find(scene.places[0]), find(place)))
            root[b] = a
    return {scene.key: find(scene.places[0]) for scene in scenes}


def split_of(group: str, shares: Mapping[str, float], seed: int = 0) -> str:
    """Return the split of a group, "train" unless its hash falls into the share of another."""
    digest = hashlib.blake2b(f"{seed}/{group}".encode(), digest_size=8).digest()
    at = int.from_bytes(digest, "big") / 2**64
    for name, share in shares.items():
        if at < share:
            return name
        at -= share
    return "train"


def splits_of(
    scenes: Sequence[SceneSource], shares: Mapping[str, float], lists: Mapping[str, Iterable[str]], seed: int = 0
) -> dict[str, tuple[str, str]]:
    """Return (group, split) of each scene. lists: official splits, names of scenes or places, which go before hashes.

    Raises DatasetError where the lists would tear one place apart.
    """
    groups = groups_of(scenes)
    said: dict[str, str] = {}
    for name, listed in lists.items():
        wanted = set(listed)
        for scene in scenes:
            listed_here = scene.key in wanted or scene.name in wanted or bool(wanted & set(scene.places))
            if listed_here and said.setdefault(groups[scene.key], name) != name:
                raise DatasetError(
                    f"{scene.key} is in the list of {name!r}, another scene of the same place in that of "
                    f"{said[groups[scene.key]]!r}; put all of {groups[scene.key]!r} into one"
                )
    return {k: (group, said.get(group) or split_of(group, shares, seed)) for k, group in groups.items()}


def _expanded(text: str, base: Path, homes: int, seed: int) -> list[SceneSource]:
    names = text.split("+")
    path = base / text
    if len(names) > 1 and not path.exists():
        return _homes([_layout(name, base) for name in names], homes, seed)
    if text in packaged_layouts() and not path.exists():
        return _homes([Path(text)], homes, seed)
    if not path.exists():
        raise DatasetError(f"{path} is not there. {_WANTED}")
    if path.suffix == ".txt":
        lines = [line.split()[0] for line in path.read_text().splitlines() if line.strip() and line[0] != "#"]
        return [scene for line in lines for scene in _expanded(line, path.parent, homes, seed)]
    if path.suffix == ".json":
        return _homes([path], homes, seed)
    if path.is_file() and path.suffix not in (".sens", ".mcap", ".db3"):
        raise DatasetError(f"{path} is of no kind that is known here. {_WANTED}")
    if (path / "objects.json").exists():
        return [_run(path)]
    if path.is_file() or _is_recording(path):
        return [_recording(path)]
    inside = [p for p in sorted(path.iterdir()) if p.is_dir() or p.suffix == ".sens"]
    found = [p for p in inside if p.is_file() or (p / "objects.json").exists() or _is_recording(p)]
    if not found:
        raise DatasetError(f"{path} holds no recording, run or scan. {_WANTED}")
    return [_run(p) if (p / "objects.json").exists() else _recording(p) for p in found]


def _layout(name: str, base: Path) -> Path:
    return Path(name) if name in packaged_layouts() else base / name


def _homes(layouts: Sequence[Path], homes: int, seed: int) -> list[SceneSource]:
    places: list[str] = []
    try:
        for path in layouts:
            room = load_layout(path)
            boxes = [(o.label, o.box.center.round(3).tolist(), o.box.size.round(3).tolist()) for o in room.objects]
            places += [
                f"layout {path.stem}",
                f"layout {room.name}",
                f"same boxes {_hash(repr(boxes))}",
            ]  # the same room under another name
    except LayoutError as error:
        raise DatasetError(str(error)) from error
    family = {p.parent.name for p in layouts}
    dataset = f"{family.pop()} layout" if len(family) == 1 and str(layouts[0]) not in packaged_layouts() else ""
    dataset = dataset or ("shipped layout" if str(layouts[0]) in packaged_layouts() else "layout")
    name = safe("+".join(p.stem for p in layouts))
    return [
        SceneSource(
            f"home-{name}-{k}", HOME, tuple(str(p) for p in layouts), tuple(places),
            LICENCES.get(dataset, UNKNOWN_LICENCE), dataset, seed=k,
        )
        for k in range(seed, seed + homes)
    ]  # fmt: skip


def _run(path: Path) -> SceneSource:
    try:
        report = json.loads((path / "report.json").read_text())
        name = str(report["recording"])
        rooms = tuple(f"layout {room}" for room in str(report.get("place", "")).split("+") if room)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} holds objects.json, but no report.json that names its recording ({error}); make the run anew"
        ) from error
    return SceneSource(
        safe(f"run-{path.name}"), RUN, (str(path),), (place_of(name), *rooms), UNKNOWN_LICENCE, "run", name
    )


def _recording(path: Path) -> SceneSource:
    dataset = _dataset(path)
    name = path.stem if path.is_file() else path.name.removesuffix("_frames")
    places = [place_of(path.resolve().parent.name if re.fullmatch(r"seq-?\d+", name) else name)]
    truth = ""
    if (path / "truth.json").exists():
        truth = str(path)
        try:
            told: Mapping[str, Any] = json.loads((path / "truth.json").read_text())
            places += [f"layout {room}" for room in str(told["name"]).split("+")]
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError(f"{path / 'truth.json'} is no truth ({type(error).__name__}: {error})") from error
    key = safe(f"{path.resolve().parent.name}-{name}" if places[0] != place_of(name) else name)
    licence = LICENCES.get(dataset, UNKNOWN_LICENCE)
    if truth:
        licence = "of the layout that was simulated"
    return SceneSource(key, RECORDING, (str(path),), tuple(places), licence, dataset, name, truth=truth)


def place_of(name: str) -> str:
    """Return the place that a recording's name tells: ScanNet's scene0000_01 is a second scan of scene0000."""
    match = re.search(r"scene\d{4}(?=_\d\d)", name)
    return match[0] if match else name


def _dataset(path: Path) -> str:
    if path.suffix == ".sens" or is_scannet_export(path) or (path.is_dir() and any(path.glob("*.sens"))):
        return "scannet"
    kinds = (("arkitscenes", is_arkitscenes), ("7-scenes", is_seven_scenes), ("tum", is_tum))
    return next((name for name, test in kinds if path.is_dir() and test(path)), "bag")


def _is_recording(path: Path) -> bool:
    bag = (path / "metadata.yaml").exists() or any(p.suffix in (".mcap", ".db3") for p in path.iterdir())
    return bag or _dataset(path) != "bag"


def safe(name: str) -> str:
    """Return a name that a member of a shard may have: WebDataset cuts at the first full stop."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "scene"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
