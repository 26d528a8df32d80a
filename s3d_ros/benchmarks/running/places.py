"""The scenes of a benchmark as runs: those that are there, and recordings and layouts that are mapped first.

What is mapped is kept by content: the same recording, mapped with the same settings, is not mapped again.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.config import Config
from s3d_ros.offline.replay import replay
from s3d_ros.offline.run import load_scene
from s3d_ros.offline.simulate import SimulateConfig, simulate
from s3d_ros.offline.simulate.layout import PACKAGED, packaged_layouts
from s3d_ros.types import Scene

Progress = Callable[[int, int | None], None]
_TRUTH, _FRAMES = "truth.json", Path("truth") / "frames.jsonl"
_SHOWN = ("objects.json", "views.json", "bev.json", "bev.npz", "bev.png")
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Place:
    """A scene and where it lies. truth: folder of its truth.json, None where there is none. digest: of the run."""

    name: str
    run: Path
    truth: Path | None
    digest: str

    def scene(self, pictures: bool) -> Scene:
        """Read it. View frames are numbered by time, as "frame i of N" counts them.

        pictures: of an answerer that looks at them. Raises RunError, BenchmarkError where they are missing.
        """
        scene = load_scene(self.run)
        if pictures and (not scene.views or scene.bev is None):
            lacks = "no pictures of its view frames (views/)" if not scene.views else "no bird's-eye view (bev.npz)"
            raise BenchmarkError(f"{self.run} holds {lacks}: make it anew with  s3d replay PATH --out {self.run}")
        by_time = sorted(scene.views, key=lambda v: (v.stamp_ns, v.id))
        return replace(scene, views=tuple(replace(v, id=k) for k, v in enumerate(by_time, 1)))


def find_places(
    folder: Path,
    names: Sequence[str],
    cache: Path,
    config: Config | None = None,
    some: bool = False,
    progress: Progress | None = None,
) -> dict[str, Place]:
    """Return the scenes of these names: FOLDER/NAME is a run, or holds one (``run``), or is a recording to be mapped.

    some: leave out those that are not there; else BenchmarkError names them.
    """
    there = {name: path for name in names if (path := _find(folder, name)) is not None}
    missing = [name for name in names if name not in there]
    if not there or (missing and not some):
        raise BenchmarkError(
            f"{folder} lacks {len(missing)} of {len(names)} scenes, such as {', '.join(missing[:3])}: put runs of "
            "`s3d replay` or recordings there by these names"
            + ("" if not there else "; or ask about those that are there alone, with --some")
        )
    return {name: _place(name, path, cache, config or Config(), progress) for name, path in there.items()}


def names_with_truth(folder: Path) -> list[str]:
    """Return the scenes in a folder that have a truth.json. Raises BenchmarkError where none has."""
    names = sorted(p.parent.name for p in folder.glob(f"*/{_TRUTH}"))
    if not names:
        raise BenchmarkError(
            f"{folder} holds no scene with a {_TRUTH}: questions are made of SCENE/{_TRUTH}, "
            "which `s3d simulate` writes"
        )
    return names


def furnished(
    layouts: Sequence[Path],
    cache: Path,
    *,
    seed: int = 0,
    noise: str = "none",
    options: SimulateConfig | None = None,
    config: Config | None = None,
    progress: Progress | None = None,
) -> dict[str, Place]:
    """Simulate and map each layout: JSON files, names of shipped ones, lists of paths, one a line.

    Of a recording only the truth is kept. Raises BenchmarkError, LayoutError, RecordingError.
    """
    options, config = options or SimulateConfig(), config or Config()
    out = {}
    for path in _listed(layouts):
        name = f"{path.parent.name}-{path.stem}"
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BenchmarkError(f"can't read the layout {path}: {error}") from error
        key = _hash([repr((seed, noise, options, config)), text])
        folder = cache / f"{name}-{key}"
        if not folder.exists():
            half = _fresh(cache / f".{name}-half")
            simulate([path], half / "bag", seed=seed, noise=noise, options=options, progress=progress)
            replay(half / "bag", half / "run", config, progress=progress)
            (half / "truth").mkdir()
            for part in (Path(_TRUTH), _FRAMES):
                (half / "bag" / part).rename(half / part)
            shutil.rmtree(half / "bag")
            half.rename(folder)
        out[name] = Place(name, folder / "run", folder, digest_of_run(folder / "run"))
    return out


def digest_of_run(run: Path) -> str:
    """Return a hash of all that an answerer can see of a run."""
    pictures = sorted((run / "views").glob("*.jpg"))
    return _hash(_contents(p for p in (*(run / name for name in _SHOWN), *pictures) if p.exists()))


def _place(name: str, path: Path, cache: Path, config: Config, progress: Progress | None) -> Place:
    truth = path if (path / _TRUTH).exists() else None
    run = next((r for r in (path, path / "run") if (r / "objects.json").exists()), None)
    if run is None:
        run = _mapped(name, path, cache, config, progress)
    return Place(name, run, truth, digest_of_run(run))


def _mapped(name: str, path: Path, cache: Path, config: Config, progress: Progress | None) -> Path:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and "truth" not in p.parts)
    key = _hash([repr(config)], _contents(files))
    plain = re.sub(r"[^\w.-]+", "-", name)
    run = cache / f"{plain}-{key}"
    if not run.exists():
        half = _fresh(cache / f".{plain}-half")
        replay(path, half, config, progress=progress)
        half.rename(run)
    return run


def _find(folder: Path, name: str) -> Path | None:
    for path in (folder / name, *(folder / f"{name}{end}" for end in (".mcap", ".db3"))):
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            return path
    return None


def _listed(paths: Sequence[Path]) -> list[Path]:
    out: list[Path] = []
    for path in paths:
        if str(path) in packaged_layouts() and not path.exists():
            path = PACKAGED / f"{path}.json"
        if path.suffix == ".json":
            out.append(path)
            continue
        try:
            out += [path.parent / line.split()[0] for line in path.read_text().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise BenchmarkError(f"can't read the list of layouts {path}: {error}") from error
    return list(dict.fromkeys(out))


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _contents(files: Iterable[Path]) -> Iterable[bytes]:
    for path in files:
        yield path.name.encode()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


def _hash(*parts: Iterable[str | bytes]) -> str:
    made = hashlib.blake2b(digest_size=8)
    for part in parts:
        for piece in part:
            made.update(piece.encode() if isinstance(piece, str) else piece)
            made.update(b"\0")
    return made.hexdigest()
