"""Scene numbers: 1-999 stands for an object in images and texts, written ``<OBJ012>``, and is mapped back to its ID.

A number is given once per map and stays. An object's ID is its number where that is free, so most people never see a
difference. Only where more than 999 objects want one does it pass on: from what is no longer in the map, then from
what no question needed for longest, to what a question needs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from s3d_ros.types import ObjectState, Scene, SceneObject

LARGEST_NUMBER = 999
_TOKEN = re.compile(r"<OBJ([0-9]{1,3})>")


def token(number: int) -> str:
    """Return how a number is written in text: 12 -> ``<OBJ012>``."""
    return f"<OBJ{number:03d}>"


def present(scene: Scene) -> tuple[SceneObject, ...]:
    """Return the objects that are in their place, by ID: what is gone is neither marked nor named."""
    here = (ObjectState.CONFIRMED, ObjectState.MOVED)
    return tuple(sorted((o for o in scene.objects if o.state in here), key=lambda o: o.id))


@dataclass(frozen=True)
class Numbering:
    """The numbers of one scene. number_of: ID of a present object -> number. id_of: number -> ID; several may be one's.

    resolved: a retired ID -> the present object that it is now.
    """

    number_of: Mapping[int, int]
    id_of: Mapping[int, int]
    resolved: Mapping[int, int]

    def resolve(self, object_id: int) -> int | None:
        """Return the present object of an ID or a retired one, None where there is none."""
        object_id = self.resolved.get(object_id, object_id)
        return object_id if object_id in self.number_of else None

    def token_of(self, object_id: int) -> str | None:
        """Return ``<OBJ012>`` for an object, None where it has no number."""
        found = self.resolve(object_id)
        return None if found is None else token(self.number_of[found])

    def objects_in(self, text: str) -> tuple[int, ...]:
        """Return the IDs of the objects that ``<OBJ012>`` name in a text, each once, in order; no unknown ones."""
        found = (self.id_of.get(int(n)) for n in _TOKEN.findall(text))
        return tuple(dict.fromkeys(i for i in found if i is not None))


class Numbers:
    """Remembers which number stands for which object of a map. Safe to use from several threads."""

    def __init__(self, largest: int = LARGEST_NUMBER) -> None:
        self._largest = largest
        self._lock = threading.Lock()
        self._number_of: dict[int, int] = {}
        self._id_of: dict[int, int] = {}
        self._needed_at: dict[int, int] = {}
        self._questions = 0
        self._lowest_free = 1

    def of(self, scene: Scene, needed: Sequence[int] = ()) -> Numbering:
        """Return the scene's numbers. needed: IDs that a question is about, the most important first."""
        here = {o.id: o for o in present(scene)}
        resolved = _resolved(scene, here)
        with self._lock:
            self._questions += 1
            wanted = [i for i in dict.fromkeys(resolved.get(i, i) for i in needed) if i in here][: self._largest]
            for i in wanted:
                self._needed_at[i] = self._questions
            for old, new in resolved.items():  # what was told under the old number stays true
                if old in self._number_of and new not in self._number_of:
                    self._give(new, self._take(old))
            late = [i for i in (*wanted, *here) if i not in self._number_of and not self._give_own(i)]
            for i in dict.fromkeys(late):
                number = self._free() or self._freed(here, resolved, wanted if i in wanted else None)
                if number is None:
                    break
                self._give(i, number)
            number_of = {i: self._number_of[i] for i in here if i in self._number_of}
            known = {n: resolved.get(i, i) for n, i in self._id_of.items()}
        return Numbering(number_of, {n: i for n, i in known.items() if i in here}, resolved)

    def _give_own(self, object_id: int) -> bool:
        if not 1 <= object_id <= self._largest or object_id in self._id_of:
            return False
        self._give(object_id, object_id)
        return True

    def _give(self, object_id: int, number: int) -> None:
        self._number_of[object_id], self._id_of[number] = number, object_id

    def _take(self, object_id: int) -> int:
        number = self._number_of.pop(object_id)
        del self._id_of[number]
        self._needed_at.pop(object_id, None)
        self._lowest_free = min(self._lowest_free, number)
        return number

    def _free(self) -> int | None:
        while self._lowest_free in self._id_of:
            self._lowest_free += 1
        return self._lowest_free if self._lowest_free <= self._largest else None

    def _freed(self, here: Iterable[int], resolved: Mapping[int, int], needed: Sequence[int] | None) -> int | None:
        """Take a number back, and return it: from what is not in the map; if need be, from what is not needed."""
        keep = set(here) | set(resolved) if needed is None else set(needed)
        spare = [i for i in self._number_of if i not in keep]
        if not spare:
            return None
        alive = set(here)
        return self._take(min(spare, key=lambda i: (i in alive, self._needed_at.get(i, 0), -i)))


def _resolved(scene: Scene, here: Mapping[int, SceneObject]) -> dict[int, int]:
    aliases = {old: o.id for o in here.values() for old in o.aliases}
    out = {**aliases, **{old: aliases.get(new, new) for old, new in scene.merged.items()}}
    return {old: new for old, new in out.items() if old not in here and new in here}
