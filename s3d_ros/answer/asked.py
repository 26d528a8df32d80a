"""What an answering function is handed: the question, the world, and the way from one to the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s3d_ros.answer.language import PER_METRE
from s3d_ros.answer.mentions import Mention
from s3d_ros.answer.parsed import Parsed
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.world import Standpoint, World, label_of, name_of, names_of
from s3d_ros.types import F64, Answer, ErrorCode, SceneObject

NAME = "geometric"
SHOWN_AT_MOST = 12  # names in one sentence


@dataclass(frozen=True)
class Asked:
    """A question and the world it is about. Its methods raise Refusal where the question can't be answered."""

    parsed: Parsed
    world: World

    def mention(self, slot: int) -> Mention:
        """Return what a slot of the text names."""
        return self.parsed.mentions[slot]

    def all(self, mention: Mention) -> list[SceneObject]:
        """Return every present object that a mention may stand for, by ID. Refuses (NOT_IN_MAP) where there is none."""
        if mention.object_id is not None:
            return [self._by_id(mention)]
        found = [o for label in mention.labels for o in self.world.by_label.get(label, [])]
        if not found:
            raise Refusal(ErrorCode.NOT_IN_MAP, f"The map holds no {mention.word} so far.")
        return sorted(found, key=lambda o: o.id)

    def one(self, slot: int) -> SceneObject:
        """Return the one object that a slot stands for. Refuses (AMBIGUOUS) where it may be several: asks back."""
        mention = self.mention(slot)
        found = self.all(mention)
        if len(found) == 1:
            return found[0]
        if mention.nearest:
            return found[int(np.argmin(self.world.distances_from(self.standpoint(), found)))]
        raise self.ambiguous(mention.word, found)

    def ambiguous(self, word: str, found: Sequence[SceneObject]) -> Refusal:
        """Return the question back: which of them is meant?"""
        shown = names_of(found[:SHOWN_AT_MOST], "or") + (" ..." if len(found) > SHOWN_AT_MOST else "")
        text = f"Which {word}? The map holds {len(found)}: {shown}. Please ask with the number."
        return Refusal(ErrorCode.AMBIGUOUS, text, [o.id for o in found])

    def _by_id(self, mention: Mention) -> SceneObject:
        assert mention.object_id is not None
        found = self.world.scene.find(mention.object_id)
        if found is None:
            raise Refusal(ErrorCode.NOT_IN_MAP, f"The map holds no object {mention.object_id}.")
        if found.id not in self.world.index:
            raise Refusal(ErrorCode.NOT_IN_MAP, f"{name_of(found)} is no longer there.", [found.id])
        if not mention.word.startswith("object ") and label_of(found) not in mention.labels:
            called = mention.word.rsplit(" ", 1)[0]
            text = f"Object {mention.object_id} is no {called}: it is {name_of(found)}."
            raise Refusal(ErrorCode.NOT_IN_MAP, text, [found.id])
        return found

    def standpoint(self) -> Standpoint:
        """Return where the question is asked from: as it states, else its situation, else the robot's pose.

        Refuses: NOT_READY where there is none, BAD_QUESTION where it gives no direction.
        """
        view = self.parsed.view
        if view.at is None:
            here = self._pose()
        else:
            place = self.one(view.at)
            here = Standpoint(place.box.center, None, f"standing by {name_of(place)}", place)
        for slot, sign, verb in ((view.facing, 1, "facing"), (view.away, -1, "facing away from")):
            if slot is not None:
                seen = self.one(slot)
                words = f"{here.words}, {verb} {name_of(seen)}"
                heading = sign * self.direction(seen.box.center - here.position, words)
                return Standpoint(here.position, heading, words, here.place)
        return here

    def direction(self, way: F64, words: str) -> F64:
        """Return ``way`` (3,) laid on the floor, of length 1. Refuses (BAD_QUESTION), saying ``words``, for none."""
        flat = self.world.on_floor(way)
        length = float(np.linalg.norm(flat))
        if length < 1e-6:
            raise Refusal(ErrorCode.BAD_QUESTION, f"{words[:1].upper()}{words[1:]}: that gives no direction.")
        return np.asarray(flat / length)

    def heading(self, here: Standpoint) -> F64:
        """Return the heading (3,) of a standpoint. Refuses (BAD_QUESTION) where nothing says which way it looks."""
        if here.heading is None:
            raise Refusal(ErrorCode.BAD_QUESTION, f"{here.words[:1].upper()}{here.words[1:]}: facing which way?")
        return here.heading

    def _pose(self) -> Standpoint:
        situation, scene = self.parsed.situation, self.world.scene
        if situation is not None:
            position = np.asarray(situation.position, dtype=np.float64)
            heading = np.asarray(situation.heading, dtype=np.float64)
            if position.shape != (3,) or heading.shape != (3,) or not np.isfinite([position, heading]).all():
                raise Refusal(ErrorCode.BAD_QUESTION, "A situation must hold a finite position and heading.")
            heading = self.direction(heading, "with the given heading, along up")
            return Standpoint(position, heading, "from the given pose")
        if scene.T_map_robot is None:
            raise Refusal(ErrorCode.NOT_READY, "No pose is known yet: say where you stand, or give a situation.")
        T = scene.T_map_robot
        forward = self.world.on_floor(T[:3, 2] if scene.robot_is_camera else T[:3, 0])
        level = float(np.linalg.norm(forward))
        who = "camera" if scene.robot_is_camera else "robot"
        words = f"from the {who}'s latest pose"
        return Standpoint(np.asarray(T[:3, 3]), forward / level if level > 1e-3 else None, words)

    def length(self, metres: float, default: str = "m") -> tuple[float, str, str]:
        """Return (value, unit, text) of a length in the unit asked for."""
        unit = next((u for u in PER_METRE if u in self.parsed.units), default)
        value = metres * PER_METRE[unit]
        return value, unit, f"{value:.{2 if unit in ('m', 'ft') else 1}f} {unit}"

    def reply(
        self,
        text: str,
        objects: Sequence[SceneObject] = (),
        value: float | None = None,
        unit: str = "",
        choice: str = "",
        viewpoint: str = "",
        sureness: float = 1.0,
        **facts: Any,
    ) -> Answer:
        """Make the reply. Its confidence is that of the least certain object, times ``sureness``."""
        sure = [o.confidence * max(o.label_scores.values(), default=1.0) for o in objects]
        if not choice and self.parsed.options and value is not None:
            choice = self._nearest_option(value)
        return Answer(
            text=text,
            value=value,
            unit=unit,
            choice=choice,
            objects=tuple(dict.fromkeys(o.id for o in objects)),
            confidence=float(np.clip(min(sure, default=1.0) * sureness, 0, 1)),
            answered_by=NAME,
            viewpoint=viewpoint,
            map_version=self.world.scene.map_version,
            stamp_ns=self.world.scene.stamp_ns,
            facts=facts,
        )

    def _nearest_option(self, value: float) -> str:
        """Return the letter of the option whose number is closest. Refuses (BAD_QUESTION) options without one."""
        off = []
        for option in self.parsed.options:
            numbers = re.findall(r"\d+(?:\.\d+)?", option.text)
            if len(numbers) != 1 or len(numbers[0]) > 30:
                text = f"Option {option.letter} ({option.text}) holds no single number to compare with."
                raise Refusal(ErrorCode.BAD_QUESTION, text)
            off.append((abs(float(numbers[0]) - value), option.letter))
        return min(off)[1]
