"""What an answerer is shown of a scene: one variant, and the grid of several."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from s3d_ros.benchmarks.files import BenchmarkError

MAP = "map"  # of an answerer that looks at no picture


@dataclass(frozen=True)
class Variant:
    """frames: view frames at most. bev: with the bird's-eye view. markers: objects are marked by number."""

    frames: int = 32
    bev: bool = True
    markers: bool = True

    @property
    def name(self) -> str:
        """As folders are called: "frames-32", "frames-8-no-bev-no-markers"."""
        return f"frames-{self.frames}{'' if self.bev else '-no-bev'}{'' if self.markers else '-no-markers'}"

    @property
    def title(self) -> str:
        """As tables say it: "8 frames, no BEV"."""
        return f"{self.frames} frames{'' if self.bev else ', no BEV'}{'' if self.markers else ', no markers'}"

    @property
    def settings(self) -> dict[str, int | bool]:
        """The answerer's settings of it."""
        return {"prompt.frames": self.frames, "prompt.bev": self.bev, "prompt.markers": self.markers}


def grid(frames: str, bev: str, markers: str) -> list[Variant]:
    """Return all combinations of lists such as "8,16,32" and "on,off". Raises BenchmarkError naming the value."""
    counts = []
    for word in _words(frames):
        if not word.isdigit() or int(word) > 300:
            raise BenchmarkError(f"--frames {frames!r}: {word!r} is no number of frames, 0 to 300; write 8,16,32")
        counts.append(int(word))
    made = itertools.product(counts, _switch("--bev", bev), _switch("--markers", markers))
    variants = [Variant(*values) for values in made]
    if not variants:
        raise BenchmarkError("a variant needs a number of frames, and on or off for --bev and --markers")
    return list(dict.fromkeys(variants))


def _switch(option: str, text: str) -> Sequence[bool]:
    known = {"on": True, "off": False}
    odd = [word for word in _words(text) if word not in known]
    if odd:
        raise BenchmarkError(f"{option} {text!r}: {odd[0]!r} is neither on nor off; write on, off, or on,off")
    return [known[word] for word in _words(text)]


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",") if word.strip()]
