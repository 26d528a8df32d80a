"""All kinds of question by family, with their wordings."""

from __future__ import annotations

from collections.abc import Sequence

from s3d_ros.offline.questions_wordings import WORDINGS as _VSI
from s3d_ros.offline.questions_wordings import Wording
from s3d_ros.offline.questions_wordings_camera import CAMERA
from s3d_ros.offline.questions_wordings_places import CAPTIONS, GROUNDING, SITUATED

FAMILIES: dict[str, dict[str, tuple[Wording, ...]]] = {
    "vsi": _VSI,
    "vsti": CAMERA,
    "situated": SITUATED,
    "grounding": GROUNDING,
    "caption": CAPTIONS,
}
WORDINGS: dict[str, tuple[Wording, ...]] = {k: ways for family in FAMILIES.values() for k, ways in family.items()}
FAMILY_OF: dict[str, str] = {kind: name for name, family in FAMILIES.items() for kind in family}


def kinds_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds that names of families or of kinds stand for. Raises ValueError for an unknown one."""
    out: list[str] = []
    for name in names:
        if name in FAMILIES:
            out += FAMILIES[name]
        elif name in WORDINGS:
            out.append(name)
        else:
            raise ValueError(f"there is no kind of question {name!r}; there are {', '.join((*FAMILIES, *WORDINGS))}")
    return tuple(dict.fromkeys(out))
