"""The fields of ``AskScene``, service and action: a request to a ``Question``, an ``Answer`` to a response."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from s3d_ros.geometry import PoseError
from s3d_ros.ros.conversions import object_msgs, pose_of, stamp_ns, time_msg
from s3d_ros.types import Answer, ErrorCode, Question, Scene, Situation

MAX_CHARACTERS = 4000
MAX_OPTIONS = 100


class BadRequest(ValueError):
    """A request that can't be a question; the message says why and what would be right."""


def question_of(request: Any, scene: Scene | None) -> Question:
    """Convert a request or goal. Raises BadRequest.

    ``scene`` gives the map frame and up, against which frames and the situation are checked.
    """
    if not request.question.strip():
        raise BadRequest("the question is empty")
    if len(request.question) > MAX_CHARACTERS:
        raise BadRequest(f"the question has {len(request.question)} characters; at most {MAX_CHARACTERS}")
    if len(request.options) > MAX_OPTIONS:
        raise BadRequest(f"{len(request.options)} options; at most {MAX_OPTIONS}")
    deadline_s = request.deadline.sec + request.deadline.nanosec * 1e-9
    if deadline_s < 0:
        raise BadRequest(f"the deadline is {deadline_s:g} s; 0 means the answerer's own, else it must be positive")
    if scene is not None and request.frame_id not in ("", scene.frame_id):
        raise BadRequest(f"frame_id {request.frame_id!r}: answers are given in the map frame {scene.frame_id!r} only")
    return Question(
        text=request.question,
        options=tuple(request.options),
        situation=_situation_of(request, scene) if request.has_situation else None,
        conversation_id=request.conversation_id,
        deadline_s=deadline_s,
    )


def _situation_of(request: Any, scene: Scene | None) -> Situation:
    frame = request.situation.header.frame_id
    if scene is not None and frame not in ("", scene.frame_id):
        raise BadRequest(f"the situation is in frame {frame!r}: give it in the map frame {scene.frame_id!r}")
    try:
        T = pose_of(request.situation.pose)
    except PoseError as error:
        raise BadRequest(f"the situation is no pose: {error}") from error
    if scene is not None and abs(float(T[:3, 0] @ scene.up)) > 0.99:
        raise BadRequest("the situation looks straight up or down: its +x axis is the heading")
    return Situation(position=T[:3, 3], heading=T[:3, 0])


def fill_response(response: Any, answer: Answer, scene: Scene | None, map_id: int) -> Any:
    """Write an answer into a response or result, with the objects as they are in the scene, and return it."""
    ok = answer.success
    response.success = ok
    response.error_code = str(answer.error)
    response.message = "" if ok else answer.text
    response.answer = answer.text if ok else ""
    response.value = math.nan if answer.value is None else float(answer.value)
    response.unit = answer.unit
    response.choice = answer.choice
    response.confidence = float(answer.confidence)
    response.answered_by = answer.answered_by
    response.measured = list(answer.measured)
    response.viewpoint = answer.viewpoint
    response.map_id = map_id
    if scene is not None:
        found = [scene.find(number) for number in answer.objects]
        response.objects = object_msgs([o for o in found if o is not None])
        response.frame_id = scene.frame_id
        response.map_version = scene.map_version
        response.stamp = time_msg(scene.stamp_ns)
    return response


def answer_of(response: Any) -> Answer:
    """Convert a response back, for clients in Python."""
    return Answer(
        text=response.answer if response.success else response.message,
        error=ErrorCode(response.error_code),
        value=None if np.isnan(response.value) else float(response.value),
        unit=response.unit,
        choice=response.choice,
        objects=tuple(int(o.id) for o in response.objects),
        confidence=float(response.confidence),
        answered_by=response.answered_by,
        measured=tuple(response.measured),
        viewpoint=response.viewpoint,
        map_version=int(response.map_version),
        stamp_ns=stamp_ns(response.stamp),
    )
