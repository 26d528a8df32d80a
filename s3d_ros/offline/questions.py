"""Questions with known answers, made from the truth of a place.

Families of kinds, each in a module that defines them: VSI-Bench's eight (``questions_vsi``), VSTI-Bench's five about
the camera (``questions_camera``), situated ones (``questions_situated``), and grounding and captions
(``questions_grounding``). What is too close a call is left out (``questions_rules``); a thing is named alone ("the
bed") only when it is the only one of its label, and a category takes part only when all its objects were well seen.

Everything is drawn from one seed; what is drawn for one kind does not depend on which others are made.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from s3d_ros.offline.questions_camera import CAMERA
from s3d_ros.offline.questions_families import FAMILIES, kinds_of
from s3d_ros.offline.questions_grounding import GROUNDING
from s3d_ros.offline.questions_maker import Maker
from s3d_ros.offline.questions_record import ScoredQuestion, write_questions
from s3d_ros.offline.questions_situated import SITUATED
from s3d_ros.offline.questions_vsi import VSI
from s3d_ros.offline.truth import TrueFrame, Truth, shown_frames

__all__ = ["KINDS", "ScoredQuestion", "make_questions", "write_questions"]

KINDS = tuple(FAMILIES["vsi"])
_MAKERS: Mapping[str, Callable[[Maker, str], Iterator[ScoredQuestion]]] = {**VSI, **CAMERA, **SITUATED, **GROUNDING}


def make_questions(
    truth: Truth,
    seed: int = 0,
    per_kind: int = 6,
    splits: Sequence[str] = ("official", "open", "held_out"),
    kinds: Sequence[str] = ("vsi",),
    shown: Sequence[TrueFrame] | None = None,
    nameable: Collection[int] | None = None,
) -> list[ScoredQuestion]:
    """Make up to ``per_kind`` questions of each kind (and level of direction), fewer where the place has no more.

    kinds: families or kinds. shown: the frames that "frame i of N" counts, by time; None: 32 evenly spaced ones.
    nameable: indices of those that a question may name; None: all. Raises ValueError for an unknown kind.
    """
    maker = Maker(truth, seed, frozenset(splits), shown_frames(truth) if shown is None else shown)
    maker.nameable = None if nameable is None else frozenset(nameable)
    out: list[ScoredQuestion] = []
    for kind in kinds_of(kinds):
        maker.begin(kind)
        out += itertools.islice(_MAKERS[kind](maker, kind), per_kind)
    return out
