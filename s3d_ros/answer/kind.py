"""What a kind of question is: the wordings that it reads, and the function that answers it.

To add a kind: write a function from ``Asked`` to ``Answer`` (None: "not mine after all"), describe
the wordings it reads in a ``Kind``, and put that in the table of ``geometric.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.language import pattern, words
from s3d_ros.answer.parsed import Parsed
from s3d_ros.answer.viewpoint import CLAUSE_WORDS
from s3d_ros.types import Answer


@dataclass(frozen=True)
class Kind:
    """A kind of question that geometry settles.

    asks: phrase patterns (``language.pattern``), each of which the text must hold.
    reads, phrases: further words and patterns that it understands where they occur. A content word in
        none of these makes it another question.
    mentions: how many things it names, at least and at most, those of the viewpoint not counted.
    views: whether a stated viewpoint plays a part.
    polar: whether it asks for yes or no; None for either.
    """

    name: str
    answer: Callable[[Asked], Answer | None]
    asks: tuple[str, ...]
    reads: str = ""
    phrases: tuple[str, ...] = ()
    mentions: tuple[int, int] = (0, 99)
    views: bool = True
    polar: bool | None = False
    _asks: tuple[re.Pattern[str], ...] = field(init=False, default=())
    _phrases: tuple[re.Pattern[str], ...] = field(init=False, default=())
    _vocabulary: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_asks", tuple(map(pattern, self.asks)))
        object.__setattr__(self, "_phrases", tuple(map(pattern, self.phrases)))
        object.__setattr__(self, "_vocabulary", words(self.reads))

    def unread(self, parsed: Parsed) -> list[str] | None:
        """Return the words of a question that it can't read, [] if it is all its own; None: another kind."""
        least, most = self.mentions
        if not least <= len(parsed.slots) <= most or (parsed.view and not self.views):
            return None
        if self.polar is not None and self.polar != parsed.polar:
            return None
        if not all(p.search(parsed.text) for p in self._asks):
            return None
        known = self._vocabulary | CLAUSE_WORDS if parsed.view else self._vocabulary
        return parsed.unread((*self._phrases, *self._asks), known)
