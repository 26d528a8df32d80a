"""What draws questions about one place: chance, wordings, names, and what is dealt evenly."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from s3d_ros.geometry import box_distance
from s3d_ros.offline.questions_families import WORDINGS
from s3d_ros.offline.questions_record import ScoredQuestion
from s3d_ros.offline.questions_wordings import SYNONYMS, Wording, plural
from s3d_ros.offline.truth import TrueFrame, TrueObject, Truth

SYNONYM_SHARE = 0.15  # of the things named in unofficial wordings
TRIES = 400
_Case = TypeVar("_Case", bound=Hashable)
_Answer = TypeVar("_Answer", bound=Hashable)
SPLITS = ("official", "open", "held_out", "held_out")  # half of the questions are in held-out words


class Maker:
    """Draws questions about one place. shown: the frames that questions may name, by time."""

    def __init__(self, truth: Truth, seed: int, splits: frozenset[str], shown: Sequence[TrueFrame] = ()) -> None:
        self.truth, self.splits, self.shown = truth, splits, tuple(shown)
        place = repr((truth.floor_area_m2, [(o.id, o.label, o.box.center.tolist()) for o in truth.objects]))
        self.seed = f"{seed}/{zlib.crc32(place.encode())}"  # else the first letter dealt is the same in all places
        self.by_label: dict[str, list[TrueObject]] = {}
        for o in truth.objects:
            self.by_label.setdefault(o.label, []).append(o)
        self.known = {
            k: os for k, os in sorted(self.by_label.items()) if k and all(o.well_seen and not o.changed for o in os)
        }
        self.unique = [os[0] for os in self.known.values() if len(os) == 1]
        self._distances: dict[tuple[int, int], float] = {}
        self.nameable: frozenset[int] | None = None  # of ``shown``; None: all
        self.notes: dict[str, Any] = {}  # what several kinds need
        self.begin("")

    def begin(self, kind: str) -> None:
        """Start a kind: what is drawn for it does not depend on which others are made."""
        self.rng = random.Random(f"{self.seed}/{kind}")
        self._decks: dict[Any, list[Any]] = {}
        self._made = 0

    # How it is said

    def ask(self, kind: str, of_several: bool = False) -> Asking:
        """Choose the wording of one more question."""
        ways = [w for w in WORDINGS[kind] if w.split in self.splits and (w.of_several or not of_several)]
        split = self.deal((kind, "split"), [s for s in SPLITS if s in self.splits])
        wording = self.deal((kind, of_several, split), [w for w in ways if w.split == split])
        self._made += 1
        return Asking(self, kind, f"{kind}-{self._made:02d}", wording)

    def lists(self, labels: Sequence[str]) -> dict[str, str]:
        """Return a list of categories as a sentence may hold it: bare, with "or", with "and"."""
        things = [f"the {label if len(self.by_label[label]) == 1 else plural(label)}" for label in labels]
        head, last = ", ".join(things[:-1]), things[-1]
        return {"bare": ", ".join(labels), "any": f"{head} or {last}", "all": f"{head} and {last}"}

    # Chance and measure

    def shuffled(self, items: Sequence[Any]) -> list[Any]:
        return self.rng.sample(items, len(items))

    def deal(self, deck: Any, cards: Sequence[Any]) -> Any:
        """Return a card of a shuffled deck; every card comes once before any comes again."""
        if not self._decks.get(deck):
            self._decks[deck] = self.shuffled(cards)
        return self._decks[deck].pop()

    def forget(self, deck: Any) -> None:
        """Put what is left of a deck away: its cards are others now."""
        self._decks.pop(deck, None)

    def even(self, by_class: dict[Any, list[Any]], deck: Any = "even") -> Iterator[Any]:
        """Yield names of classes that still hold something, all equally often for as long as they last."""
        while any(by_class.values()):
            yield self.deal(deck, [name for name, rest in by_class.items() if rest])
            self._decks[deck] = [name for name in self._decks[deck] if by_class[name]]

    def spread(self, items: Sequence[Any], values: Sequence[float]) -> Iterator[Any]:
        """Yield items so that their values, sorted into bands that each double, are spread evenly over the bands."""
        bands: dict[int, list[Any]] = {}
        for item, value in zip(items, values, strict=True):
            bands.setdefault(math.floor(math.log2(max(value, 1e-6))), []).append(item)
        bands = {band: self.shuffled(bands[band]) for band in sorted(bands)}
        for band in self.even(bands):
            yield bands[band].pop()

    def two_ways(self, cases: Mapping[_Case, Mapping[_Answer, object]]) -> Iterator[tuple[_Case, _Answer]]:
        """Yield each case that has two answers or more with two of them: what is asked tells nothing of the answer."""
        for case in self.shuffled(sorted((k for k, v in cases.items() if len(v) >= 2), key=repr)):
            for answer in self.rng.sample(sorted(cases[case], key=repr), 2):
                yield case, answer

    def distance(self, a: TrueObject, b: TrueObject) -> float:
        """Return metres between the closest points of two boxes."""
        pair = (min(a.id, b.id), max(a.id, b.id))
        if pair not in self._distances:
            self._distances[pair] = box_distance(a.box, b.box)[0]
        return self._distances[pair]


class Asking:
    """One question in the making: its wording is chosen, its names are being."""

    def __init__(self, maker: Maker, kind: str, name: str, wording: Wording) -> None:
        self.maker, self.kind, self.id, self.wording = maker, kind, name, wording
        self.synonym = False

    def name(self, label: str) -> str:
        """Return what a thing is called here: its label, or now and then another common name."""
        rng, official = self.maker.rng, self.wording.split == "official"
        others = (
            [] if official else [s for s in SYNONYMS.get(label, ()) if not any(s in k for k in self.maker.by_label)]
        )
        if others and rng.random() < SYNONYM_SHARE:
            self.synonym = True
            return rng.choice(others)
        return "TV" if label == "tv" and not official else label

    def number(
        self, value: float, about: Sequence[TrueObject], names: dict[str, str], unit: str = "", **key: Any
    ) -> ScoredQuestion:
        """Finish a question whose answer is a number. names: what the wording's placeholders stand for."""
        value = round(float(value), 4)
        return self.done(f"{value:g}", about, names, value=value, unit=unit, **key)

    def choice(
        self, right: str, options: Sequence[str], about: Sequence[TrueObject], names: dict[str, str], **key: Any
    ) -> ScoredQuestion:
        """Finish a question whose answer is one of ``options``; letters are dealt evenly."""
        place = self.maker.deal(("letter", self.kind, len(options)), range(len(options)))
        rest = self.maker.shuffled([o for o in options if o != right])
        lettered = tuple(f"{'ABCD'[i]}. {o}" for i, o in enumerate([*rest[:place], right, *rest[place:]]))
        return self.done(right, about, names, options=lettered, choice="ABCD"[place], **key)

    def done(self, answer: str, about: Sequence[TrueObject], names: dict[str, str], **key: Any) -> ScoredQuestion:
        """Finish a question. key: further fields of the record."""
        text = self.wording.text.format(**names)
        return ScoredQuestion(
            self.id,
            self.kind,
            text[0].upper() + text[1:],
            answer,
            wording=self.wording.split,
            synonym=self.synonym,
            about=tuple(o.id for o in about),
            **key,
        )
