"""What is wrong with a training set, a source or a record; every message names it and the mend."""

from __future__ import annotations

from dataclasses import dataclass


class DatasetError(ValueError):
    """A source, a setting or a set that can't be used; the message says why and how to mend it."""


class RecordError(DatasetError):
    """One bad record or scene. where: its name; what: what is wrong; mend: what to do."""

    def __init__(self, where: str, what: str, mend: str) -> None:
        super().__init__(f"{where}: {what}. {mend}")
        self.problem = Problem(where, what, mend)


@dataclass(frozen=True)
class Problem:
    """A refused record, for lists of them."""

    where: str
    what: str
    mend: str
