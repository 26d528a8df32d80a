"""Pick the option that a computed answer is."""

from __future__ import annotations

from collections.abc import Sequence

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.language import ARROW
from s3d_ros.answer.mentions import Mention
from s3d_ros.answer.refusal import Refusal
from s3d_ros.types import ErrorCode, SceneObject

_AROUND_MENTIONS = frozenset(
    "the a an and then or to , ~ first second third finally last is comes next one".split() + [ARROW]
)


def option_mentions(asked: Asked) -> list[list[Mention]]:
    """Return what each option names, in its order.

    Raises Refusal (NOT_SETTLED) for an option with words beside names: "the red chair".
    """
    out = []
    for option, part in zip(asked.parsed.options, asked.parsed.option_parts, strict=True):
        odd = [w for w in part.text.split() if w[0] != "@" and w not in _AROUND_MENTIONS]
        if odd:
            raise Refusal(
                ErrorCode.NOT_SETTLED,
                f"I could not read {', '.join(map(repr, odd))} in option {option.letter} ({option.text}).",
            )
        out.append(list(part.mentions))
    return out


def letter_of(asked: Asked, thing: SceneObject) -> str:
    """Return the letter of the option that names this object, by ID or category; "" without options."""
    if not asked.parsed.options:
        return ""
    fits = []
    for option, named in zip(asked.parsed.options, option_mentions(asked), strict=True):
        if len(named) == 1 and thing.id in {o.id for o in candidates(asked, named)}:
            fits.append(option.letter)
    if len(fits) != 1:
        how = "none" if not fits else "more than one"
        raise Refusal(ErrorCode.BAD_QUESTION, f"The answer is object {thing.id}, and {how} of the options is that.")
    return fits[0]


def candidates(asked: Asked, mentions: Sequence[Mention]) -> list[SceneObject]:
    """Return every object that any of the mentions may stand for, naming all that the map lacks.

    Raises Refusal (NOT_IN_MAP).
    """
    found: list[SceneObject] = []
    missing: list[str] = []
    for mention in mentions:
        try:
            found += asked.all(mention)
        except Refusal as refusal:
            if mention.object_id is not None:
                raise
            missing.append(mention.word)
            assert refusal.code == ErrorCode.NOT_IN_MAP
    if missing:
        raise Refusal(
            ErrorCode.NOT_IN_MAP, f"The map holds no {' and no '.join(missing)} so far.", [o.id for o in found]
        )
    return found
