"""Why a question was not answered, raised within the geometric answerer and turned into its reply."""

from __future__ import annotations

from collections.abc import Sequence

from s3d_ros.types import ErrorCode


class Refusal(Exception):
    """A question that can't be answered: the code, a text that says why, and the objects it is about."""

    def __init__(self, code: ErrorCode, text: str, objects: Sequence[int] = ()) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.objects = tuple(objects)
