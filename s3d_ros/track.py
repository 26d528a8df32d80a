"""What is remembered of one object, from its first sight on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from s3d_ros.boxes import fit_box, stands_out
from s3d_ros.evidence import VIEWS, ByView
from s3d_ros.lifting import LiftedPoints
from s3d_ros.looks import BINS
from s3d_ros.sightline_depth import SightlineDepth
from s3d_ros.state import State, put, taken
from s3d_ros.types import F64, I64, ObjectState, OrientedBox, SceneObject
from s3d_ros.voxels import OwnedVoxels

# first_seen is the first sight of this many pixels: a few pixels in the distance are no sight of a thing.
FIRST_SEEN_PIXELS = 500
# One sight counts for at most so long: a gap in time is no proof of what happened in it.
_LONGEST_STEP_S, _SHORTEST_STEP_S = 0.2, 0.03
# Voxels with fewer votes than this share of the median, or that were as often seen to be something else, are not of
# the thing: ragged masks, depth beside an edge.
_FIRM_VOTES, _FIRM_SUPPORT = 0.25, 0.6

_REMEMBERED = (
    *("slot", "id", "aliases", "first_sight_ns", "last_sight_ns", "last_seen_ns", "first_large_sight_ns", "pixels"),
    *("observations", "label", "most_voxels", "box_ns", "box_is_old", "came_from_far"),
)


@dataclass(frozen=True)
class Stature:
    """What an object was: its box, and the number of its voxels."""

    box: OrientedBox
    voxels: int


_LEAST_NEAR_VOXELS = 12  # a hand's breadth square: fewer are no place for what was known by bearing alone
_LEAST_ODDS, _MOST_ODDS = 0.05, 4.0
_CLEARLY = 1.1  # another label must have so many times the evidence of the one that an object has
_SHARPNESS = 2.0  # views are not alike in what they tell: shares of evidence are less certain than the label is


def _log_odds(score: float) -> float:
    """Return what a detector's score is worth as evidence: its log odds; a little, where it is no better than even."""
    share = min(max(score, 1e-3), 1 - 1e-3)
    return min(max(math.log(share / (1 - share)), _LEAST_ODDS), _MOST_ODDS)


class Track:
    """One object, tentative (id 0) or confirmed. ``slot`` is its number as an owner of voxels."""

    def __init__(self, slot: int, stamp_ns: int) -> None:
        self.slot = slot
        self.id = 0
        self.aliases: list[int] = []
        self.state = ObjectState.TENTATIVE
        self.first_sight_ns = self.last_sight_ns = self.last_seen_ns = stamp_ns
        self.first_large_sight_ns: int | None = None
        self.pixels = 0
        self.observations = 0
        self.label = ""
        self.most_voxels = 0
        self.box: OrientedBox | None = None
        self.box_ns = 0
        self.old_boxes: set[int] = set()  # where its slot is noted when its box is old: see Tracks
        self._box_is_old = True
        self.level: F64 = np.eye(3)[:2]  # rows: two directions across up, by which views are told apart: see Tracks
        self.looks: F64 = np.zeros(BINS)  # its colours (looks.py)
        self.unlike = ByView()  # how long its place showed other colours
        self.stature: Stature | None = None  # what it was before its place began to be seen empty
        self.whole, self.parted = ByView(), ByView()  # how long one mask showed all of it, and how long several parts
        self.bearing: SightlineDepth | None = None  # while it has no voxels
        self.came_from_far = False  # it has its ID from bearings
        self._said: tuple[tuple[object, ...], SceneObject] | None = None
        self._evidence: dict[str, ByView] = {}
        self._voxels: list[I64] = []

    @property
    def public(self) -> bool:
        return self.id > 0 and self.box is not None

    @property
    def has_voxels(self) -> bool:
        return bool(self._voxels)

    @property
    def is_unsure(self) -> bool:
        """Whether it has no ID yet, or was never seen with depth: it may never have been there."""
        return not self.id or self.bearing is not None

    @property
    def box_is_old(self) -> bool:
        """Whether the box is to be fitted anew."""
        return self._box_is_old

    @box_is_old.setter
    def box_is_old(self, is_old: bool) -> None:
        self._box_is_old = is_old
        if is_old:
            self.old_boxes.add(self.slot)

    @property
    def seniority(self) -> tuple[float, int]:
        """Smaller is older: the lowest public ID, then the lowest slot."""
        return (self.id or float("inf"), self.slot)

    def see(self, points: LiftedPoints, pixels: int, label: str, score: float) -> None:
        """Count one sight of ``pixels`` pixels under a label ("" unknown)."""
        step_s = self.step_s(points.stamp_ns)
        self.last_sight_ns = points.stamp_ns
        if not self.id:  # a clock that went back: a bag that loops, a map that was loaded
            self.first_sight_ns = min(self.first_sight_ns, points.stamp_ns)
        self.stature = None
        if self.unlike.seconds:
            self.unlike = ByView()
        self.pixels += pixels
        self.observations += 1
        self.box_is_old = True
        if self.first_large_sight_ns is None and pixels >= FIRST_SEEN_PIXELS:
            self.first_large_sight_ns = points.stamp_ns
        if label:
            weight = _log_odds(score) * min(pixels / 2000, 1.0) * step_s
            self._evidence.setdefault(label, ByView()).add(self.view_from(points.camera), weight)
            self._name()

    def _name(self) -> None:
        """Take the label that the evidence is for: another than the last one only when it is clearly ahead."""
        best = max(self._evidence, key=lambda name: self._evidence[name].total, default="")
        last = self._evidence.get(self.label)
        if last is None or self._evidence[best].total > _CLEARLY * last.total:
            self.label = best

    def step_s(self, stamp_ns: int) -> float:
        """Return for how long a sight at this stamp counts."""
        return min(max((stamp_ns - self.last_sight_ns) / 1e9, _SHORTEST_STEP_S), _LONGEST_STEP_S)

    def view_from(self, camera: F64) -> int:
        """Return from which of VIEWS directions, round about, a camera (3,) sees it."""
        if self.box is None:
            return 0
        x, y = (self.level @ (camera - self.box.center)).tolist()
        return int((math.atan2(y, x) / (2 * math.pi) + 0.5) * VIEWS) % VIEWS

    def was_called(self, label: str) -> bool:
        """Whether it was seen under this label before."""
        return label in self._evidence

    def label_scores(self) -> dict[str, float]:
        """Return how likely each label is, best first: shares of the evidence, sharper than these are."""
        sums = {name: seen.total**_SHARPNESS for name, seen in self._evidence.items()}
        total = sum(sums.values()) or 1.0
        return {k: v / total for k, v in sorted(sums.items(), key=lambda item: -item[1])}

    def add_voxels(self, voxels: I64) -> None:
        """Remember that these voxels became this object's."""
        self.bearing = None
        self._voxels.append(voxels)
        self.most_voxels += len(voxels)

    def replace_voxels(self, voxels: I64) -> None:
        """Own these voxels and no others."""
        self._voxels, self.most_voxels, self.box_is_old = [voxels], len(voxels), True

    def own_voxels(self, field: OwnedVoxels) -> I64:
        """Return the voxels that are still this object's."""
        if len(self._voxels) != 1 or (field.owner[self._voxels[0]] != self.slot).any():
            every = np.unique(np.concatenate(self._voxels)) if self._voxels else np.zeros(0, np.int64)
            self._voxels = [every[field.owner[every] == self.slot]]
        return self._voxels[0]

    def fit_box(self, field: OwnedVoxels, voxels: I64, up: F64, now_ns: int) -> bool:
        """Fit the box to what was seen; return whether there is one."""
        self.most_voxels = max(len(voxels), int(0.9 * self.most_voxels))  # a bad mask's voxels are forgotten
        if len(voxels) >= (_LEAST_NEAR_VOXELS if self.came_from_far else 3):
            votes, support = field.votes[voxels], field.support(voxels)
            firm = voxels[
                (votes >= _FIRM_VOTES * np.median(votes)) & (support >= min(_FIRM_SUPPORT, np.median(support)))
            ]
            clear = firm[stands_out(field.positions(firm), field.sights(firm), field.voxel_m)]
            firm = clear if len(clear) >= 3 else firm
            self.box = fit_box(field.positions(firm), field.counts(firm), field.voxel_m, up)
            if self.id and self.state is ObjectState.TENTATIVE:
                self.state = ObjectState.CONFIRMED
        self.box_is_old, self.box_ns = False, now_ns
        return self.box is not None

    def may_hold(self, point: F64, radius_m: float = 0.0) -> bool:
        """Whether a ball around a point (3,) is near enough to meet the box."""
        return self.box is not None and bool(
            np.linalg.norm(point - self.box.center) < 0.1 + radius_m + np.linalg.norm(self.box.size) / 2
        )

    def absorb(self, other: Track, voxels: I64) -> None:
        """Take over all that is known of another object that turned out to be this one."""
        if other.id:
            self.aliases += [other.id, *other.aliases]
            self.id = self.id or other.id
        self.first_sight_ns = min(self.first_sight_ns, other.first_sight_ns)
        self.last_sight_ns = max(self.last_sight_ns, other.last_sight_ns)
        firsts = [t for t in (self.first_large_sight_ns, other.first_large_sight_ns) if t is not None]
        self.first_large_sight_ns = min(firsts, default=None)
        self.pixels += other.pixels
        self.whole.absorb(other.whole)
        self.parted.absorb(other.parted)
        self.observations += other.observations
        self.looks = self.looks + other.looks
        for name, seen in other._evidence.items():
            self._evidence.setdefault(name, ByView()).absorb(seen)
        self._name()
        self.add_voxels(voxels)
        self.box_is_old = True

    def remembered(self) -> State:
        """Return all but the voxels, which know their owner."""
        return {
            **taken(self, _REMEMBERED),
            "state": self.state.name,
            "box": None if self.box is None else _box_state(self.box),
            "looks": self.looks.tolist(),
            "unlike": self.unlike.state(),
            "stature": None if self.stature is None else [_box_state(self.stature.box), self.stature.voxels],
            "bearing": None if self.bearing is None else self.bearing.state(),
            "whole": self.whole.state(),
            "parted": self.parted.state(),
            "evidence": {label: seen.state() for label, seen in self._evidence.items()},
        }

    @classmethod
    def restored(cls, state: State, voxels: I64) -> Track:
        """Make a track of what ``remembered`` returned, and of the voxels (N,), sorted, that it owns."""
        made = cls(state["slot"], state["first_sight_ns"])
        put(made, state, _REMEMBERED)
        made.aliases = list(made.aliases)
        made.state = ObjectState[state["state"]]
        if state["box"] is not None:
            made.box = _box_of(state["box"])
        made.looks, made.unlike = np.array(state["looks"], np.float64), ByView.restored(state["unlike"])
        if state["stature"] is not None:
            made.stature = Stature(_box_of(state["stature"][0]), int(state["stature"][1]))
        if state["bearing"] is not None:
            made.bearing = SightlineDepth.restored(state["bearing"])
        made.whole, made.parted = ByView.restored(state["whole"]), ByView.restored(state["parted"])
        made._evidence = {label: ByView.restored(seen) for label, seen in state["evidence"].items()}
        made._voxels = [voxels] if len(voxels) or made.most_voxels else []
        return made

    def snapshot(self) -> SceneObject:
        """Return the public view of a confirmed object: the same one as long as nothing of it changed."""
        assert self.box is not None
        first = self.first_sight_ns if self.first_large_sight_ns is None else self.first_large_sight_ns
        what = (self.id, self.label, self.state, self.pixels, self.observations, first, self.last_sight_ns,
                *self.aliases)  # fmt: skip
        if self._said is not None and self._said[0] == what and self._said[1].box is self.box:
            return self._said[1]
        said = SceneObject(
            id=self.id,
            label=self.label,
            box=self.box,
            label_scores=self.label_scores(),
            aliases=tuple(sorted(self.aliases)),
            state=self.state,
            confidence=float(1 - np.exp(-self.pixels / 3000)),
            first_seen_ns=first,
            last_seen_ns=self.last_sight_ns,
            observations=self.observations,
        )
        self._said = what, said
        return said


def _box_state(box: OrientedBox) -> State:
    return {k: v.tolist() for k, v in vars(box).items()}


def _box_of(state: State) -> OrientedBox:
    return OrientedBox(**{k: np.array(v, np.float64) for k, v in state.items()})
