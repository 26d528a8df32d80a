"""How far one gets without looking: a set of questions on which guessing does well is biased.

- *random*: a letter, yes or no, or one of the answers of that kind, drawn evenly; of numbers one of that kind's. For
  "which objects": nothing in one case of three, else one to three of the objects that the questions are about.
- *most frequent*: always the best single answer of that kind: the most frequent letter or word, or the number that
  scores best. It is chosen on the very questions that it answers, so that it errs to the high side.
- *words*: what the words of a question, and of its options, told about its answer in all *other* places: naive Bayes
  over words for answers that come back, per option how often it was right where it was offered and together with each
  other word, and for numbers the one that scores best where a question names the same things.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from s3d_ros.offline.questions_families import FAMILY_OF
from s3d_ros.offline.questions_record import ScoredQuestion, key_row
from s3d_ros.offline.score import mean_relative_accuracy, summarise
from s3d_ros.offline.score import score as score_answers

Places = Mapping[str, Sequence[ScoredQuestion]]
Row = dict[str, Any]
_WORD = re.compile(r"[a-z]+|\d+\.\d+|\b\d\b(?! of)")


def scored(places: Places, answer: Callable[[str, Sequence[ScoredQuestion]], Sequence[Row]]) -> dict[str, Any]:
    """Score an answerer over many places. answer: from a place and its questions to rows of ``answers.json``."""
    rows = []
    for name, questions in places.items():
        found = score_answers([key_row(q) for q in questions], answer(name, questions))
        rows += [row | {"id": f"{name}/{row['id']}"} for row in found["rows"]]
    return summarise(rows)


def chance(places: Places) -> dict[str, float]:
    """Return what blind choice scores on average, 0..100, of each kind that is answered by letter, yes or no."""
    odds: dict[str, list[float]] = defaultdict(list)
    for questions in places.values():
        for q in questions:
            if q.options or q.answer in ("yes", "no"):
                odds[q.type].append(100 / (len(q.options) or 2))
    out = {kind: sum(some) / len(some) for kind, some in odds.items()}
    levels = [level for kind, level in out.items() if kind.startswith("object_rel_direction")]
    return out | ({"object_rel_direction": sum(levels) / len(levels)} if levels else {})


def at_random(places: Places, seed: int = 0) -> dict[str, Any]:
    """Score guessing at random; see the module."""
    rng = random.Random(seed)
    pool: dict[str, list[ScoredQuestion]] = defaultdict(list)
    for questions in places.values():
        for q in questions:
            pool[q.type].append(q)
    words = {kind: sorted({q.answer for q in some}) for kind, some in pool.items()}

    def guess(name: str, questions: Sequence[ScoredQuestion]) -> list[Row]:
        things = sorted({i for q in questions for i in q.about})
        return [
            _row(q, rng.choice(words[q.type]), rng.choice(pool[q.type]).value, _drawn(rng, things))
            | {"choice": rng.choice("ABCD"[: len(q.options)]) if q.options else ""}
            for q in questions
        ]

    return scored(places, guess)


def most_frequent(places: Places) -> dict[str, Any]:
    """Score the best single answer of each kind; see the module."""
    by_kind: dict[str, list[ScoredQuestion]] = defaultdict(list)
    for questions in places.values():
        for q in questions:
            by_kind[q.type].append(q)
    letter = {k: Counter(q.choice for q in some).most_common(1)[0][0] for k, some in by_kind.items()}
    word = {k: Counter(q.answer for q in some).most_common(1)[0][0] for k, some in by_kind.items()}
    number = {k: _best_number(k, [q.value for q in some if q.value is not None]) for k, some in by_kind.items()}
    thing = {
        k: Counter(i for q in some for i in q.objects).most_common(1) for k, some in by_kind.items()
    }  # objects have no common name over places: their id says no more than where they stand in a list

    def guess(name: str, questions: Sequence[ScoredQuestion]) -> list[Row]:
        return [
            _row(q, word[q.type], number[q.type], [i for i, _ in thing[q.type]]) | {"choice": letter[q.type]}
            for q in questions
        ]

    return scored(places, guess)


def from_words(places: Places) -> dict[str, Any]:
    """Score what the words alone tell, learnt in all other places; see the module.

    Of grounding questions words tell no object: only whether there is none is guessed.
    """

    def guess(name: str, questions: Sequence[ScoredQuestion]) -> list[Row]:
        others: dict[str, list[ScoredQuestion]] = defaultdict(list)
        for other, some in places.items():
            if other != name:
                for q in some:
                    others[q.type].append(q)
        empty = others.get("grounding_many", []) + others.get("grounding_none", [])
        priors = {kind: _Prior(kind, some) for kind, some in others.items()}
        fits = _Prior("", [replace(q, answer="some" if q.objects else "none") for q in empty]) if empty else None
        rows = []
        for q in questions:
            if FAMILY_OF[q.type] != "grounding":
                rows += [priors[q.type].row(q)] if q.type in priors else []
            elif fits is not None and q.type != "grounding_one":
                things = [] if fits.row(replace(q, options=()))["answer"] == "none" else [0]  # no object has this id
                rows.append(_row(q, "", None, things))
        return rows

    return scored(places, guess)


class _Prior:
    """What the words of one kind of question tell about its answer."""

    def __init__(self, kind: str, seen: Sequence[ScoredQuestion]) -> None:
        self.kind = kind
        self.answers = Counter(q.answer for q in seen)
        self.with_word: dict[str, Counter[str]] = defaultdict(Counter)  # answer -> words of its questions
        self.offered: Counter[str] = Counter()
        self.offered_with: Counter[tuple[str, str]] = Counter()
        self.right: Counter[str] = Counter()
        self.right_with: Counter[tuple[str, str]] = Counter()
        self.numbers: dict[str, list[float]] = defaultdict(list)
        for q in seen:
            words = _words(q)
            self.with_word[q.answer].update(words)
            for option in _texts(q):
                self.offered[option] += 1
                self.right[option] += option == q.answer
                for word in words:
                    self.offered_with[option, word] += 1
                    self.right_with[option, word] += option == q.answer
            if q.value is not None:
                for word in ("", *words):
                    self.numbers[word].append(q.value)
        self.best = _best_number(kind, self.numbers[""])
        self._by_word: dict[str, float] = {}

    def row(self, q: ScoredQuestion) -> Row:
        """Return the answer that the words make likeliest."""
        words = _words(q)
        if q.options:
            texts = _texts(q)
            likely = [self._option(text, words) for text in texts]
            return _row(q, "", None, ()) | {"choice": "ABCD"[likely.index(max(likely))]}
        if q.value is not None:
            telling = [w for w in sorted(words) if 5 <= len(self.numbers.get(w, ())) < 0.5 * len(self.numbers[""])]
            rarest = min(telling, key=lambda w: len(self.numbers[w]), default="")
            return _row(q, "", self._number(rarest) if rarest else self.best, ())
        return _row(q, max(self.answers, key=lambda a: self._answer(a, words)), None, ())

    def _option(self, text: str, words: set[str]) -> float:
        out = math.log((self.right[text] + 0.25) / (self.offered[text] + 1))
        base = (self.right[text] + 0.25) / (self.offered[text] + 1)
        for word in sorted(words):
            there = self.offered_with[text, word]
            if there:
                out += math.log((self.right_with[text, word] + base) / (there + 1) / base)
        return out

    def _answer(self, answer: str, words: set[str]) -> float:
        count, with_word = self.answers[answer], self.with_word[answer]
        return math.log(count) + sum(math.log((with_word[w] + 0.1) / (count + 0.2)) for w in sorted(words))

    def _number(self, word: str) -> float | None:
        if word not in self._by_word:
            self._by_word[word] = _best_number(self.kind, self.numbers[word]) or 0.0
        return self._by_word[word]


def _row(q: ScoredQuestion, answer: str, value: float | None, objects: Sequence[int]) -> Row:
    return {"id": q.id, "success": True, "answer": answer, "value": value, "choice": "", "objects": list(objects)}


def _drawn(rng: random.Random, things: Sequence[int]) -> list[int]:
    if not things or rng.random() < 1 / 3:
        return []
    return rng.sample(things, min(rng.randint(1, 3), len(things)))


def _texts(q: ScoredQuestion) -> list[str]:
    return [o.partition(". ")[2] for o in q.options]


def _words(q: ScoredQuestion) -> set[str]:
    return set(_WORD.findall(f"{q.situation_text} {q.question}".lower()))


def _best_number(kind: str, values: Sequence[float]) -> float | None:
    """Return the number that scores best as the answer to all."""
    if not values:
        return None
    if kind == "situated_count":
        return Counter(values).most_common(1)[0][0]
    tried = sorted({round(v, 2) for v in values} | {round(0.8 * v, 2) for v in values})
    tried = tried[:: max(1, len(tried) // 60)]
    return max(tried, key=lambda x: sum(mean_relative_accuracy(x, v) for v in values))
