"""The home that the demo walks through: simulated once, kept for the next time."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from s3d_ros.offline.simulate import SimulateConfig, simulate
from s3d_ros.offline.simulate.config import TourConfig

LAYOUTS = ("living_room", "studio")
_SEED = 4
_OPTIONS = SimulateConfig(compression="zstd", truth_images=False, tour=TourConfig(budget_s=(11.0, 0.25, 0.4, 40.0)))
_MADE_FROM = "made_from.txt"

Progress = Callable[[int, int], None]


def simulated_home(folder: Path, progress: Progress | None = None) -> Path:
    """Return a recording of a walk through a flat, made anew in ``folder`` where there is none, or an outdated one.

    Raises FileExistsError where something else is in its place.
    """
    home, half = folder / "home", folder / "home.part"
    version = _version()
    if home.exists():
        if not (home / _MADE_FROM).exists():
            raise FileExistsError(f"{home} is none of the demo's: move it, or give another --out")
        if (home / _MADE_FROM).read_text() == version:
            return home
        shutil.rmtree(home)
    shutil.rmtree(half, ignore_errors=True)
    simulate([Path(name) for name in LAYOUTS], half, seed=_SEED, noise="sensor", options=_OPTIONS, progress=progress)
    (half / _MADE_FROM).write_text(version)
    half.rename(home)
    return home


def _version() -> str:
    """Name all that the home is made from."""
    made_from = hashlib.sha256(repr((LAYOUTS, _SEED, _OPTIONS)).encode())
    for folder in ("simulate", "layouts"):
        files = [
            f for f in (resources.files("s3d_ros.offline") / folder).iterdir() if f.name.endswith((".py", ".json"))
        ]
        for file in sorted(files, key=lambda f: f.name):
            made_from.update(file.read_bytes())
    return made_from.hexdigest()
