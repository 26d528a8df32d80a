"""What a language model may ask the map, one line a call: ``CALL distance(<OBJ003>, <OBJ012>)``.

The names in a call are looked up in a fixed table and its arguments are objects and labels: nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.facts import MapReader, described, listed, metres, of_word, standpoint, tag
from s3d_ros.answer.parsed import parse
from s3d_ros.answer.world import Standpoint, World, label_of
from s3d_ros.chat import ChatImage
from s3d_ros.geometry import invert, project, transform
from s3d_ros.types import F64, Question, Scene, SceneObject, ViewFrame

MOST_CALLS = 4  # in one reply
_LINE = re.compile(r"^[ \t>*`-]*CALL\b[ \t:]*(.*?)[ \t`*.]*$", re.MULTILINE)
_CALL = re.compile(r"([a-z]+)\(([^()\n]{0,200})\)")
_OBJECT = re.compile(r"#([0-9]{1,9})")
_CROP_PX, _AIR, _LEAST_PX = 384, 1.5, 96


@dataclass(frozen=True)
class ToolResult:
    """What the map told. measured: a line for people and for the model, objects as "#12". images: of a crop."""

    measured: str
    images: tuple[ChatImage, ...] = ()


class CallError(ValueError):
    """Why a call can't be answered; the model is told."""


@dataclass(frozen=True)
class _Map:
    world: World
    of_word: Callable[[str], tuple[SceneObject, ...]]
    here: Standpoint | None

    def object(self, text: str) -> SceneObject:
        match = _OBJECT.fullmatch(text)
        if not match:
            raise CallError(f"{text!r} is no object of this map: write one as it is marked")
        found = self.world.scene.find(int(match[1]))
        if found is None or found.id not in self.world.index:
            raise CallError(f"there is no object {text} now")
        return found

    def label(self, text: str) -> str:
        text = text.strip("\"'")
        if not text or _OBJECT.search(text):
            raise CallError(f"{text!r} is no label: write one like chair")
        return text


def _distance(at: _Map, a: str, b: str) -> str:
    return metres(at.world.distance(at.object(a), at.object(b)))


def _count(at: _Map, label: str) -> str:
    return str(len(at.of_word(at.label(label))))


def _list(at: _Map, label: str) -> str:
    return listed(at.of_word(at.label(label)), 20) or "none"


def _where(at: _Map, a: str) -> str:
    thing = at.object(a)
    return described(at.world, thing, at.here).partition(": ")[2]


def _closest(at: _Map, label: str, a: str) -> str:
    pool = at.of_word(at.label(label))
    if a in ("me", "the robot", "robot"):
        if at.here is None:
            raise CallError("it is not known where the asker is")
        here, world = at.here, at.world
        pool = tuple(o for o in pool if o is not here.place)
        away = world.distances_from(here, pool) if pool else np.zeros(0)
    else:
        thing = at.object(a)
        pool = tuple(o for o in pool if o is not thing)
        away = at.world.distances(thing, pool)
    if not pool:
        return "none"
    best = int(np.argmin(away))
    return f"{tag(pool[best])}, {metres(float(away[best]))}"


_TOOLS: Mapping[str, tuple[int, Callable[..., str]]] = {
    "distance": (2, _distance),
    "count": (1, _count),
    "list": (1, _list),
    "where": (1, _where),
    "closest": (2, _closest),
}
_FORMS = "distance(a, b), count(label), list(label), where(a), closest(label, a), crop(a)"


class MapTools:
    """The calls that a model may make. Safe to use from several threads."""

    instructions = (
        "Before you answer you may ask the map, which measures exactly. To do so, reply with nothing but calls, each "
        "on a line of its own, such as:\nCALL distance(<OBJ001>, <OBJ002>)\nCALL count(chair)\nYou then get results. "
        f"Calls, where a and b are objects and label is a word: {_FORMS}. where tells size and place, closest the "
        "object with that label that is closest to a (or to me), crop shows a from near. Once you know, just answer."
    )

    def __init__(self) -> None:
        self._reader = MapReader()

    def asks(self, text: str) -> bool:
        """Say whether a model's text asks the map for something."""
        return _LINE.search(text) is not None

    def run(self, text: str, scene: Scene, question: Question | None = None) -> Sequence[ToolResult]:
        """Answer the calls in a model's text, objects in it as "#12"; nothing where there are none.

        What can't be answered is a result as well, which says why. question: says where "me" is.
        """
        calls = [match[1] for match in _LINE.finditer(text)]
        if not calls:
            return ()
        world, lexicon = self._reader.read(scene)
        asked = Asked(
            parse(Question("where", situation=question.situation if question else None), lexicon, world.index), world
        )
        at = _Map(world, lambda word: of_word(word, world, lexicon), standpoint(asked))
        out = [self._result(call, at) for call in calls[:MOST_CALLS]]
        if len(calls) > MOST_CALLS:
            out.append(
                ToolResult(f"{len(calls) - MOST_CALLS} more calls were not answered: at most {MOST_CALLS} at once")
            )
        return out

    def _result(self, call: str, at: _Map) -> ToolResult:
        match = _CALL.fullmatch(call.strip())
        if not match:
            return ToolResult(f"a call that can't be read: {_short(call)}; there are {_FORMS}")
        name, arguments = match[1], [a.strip() for a in match[2].split(",")] if match[2].strip() else []
        told = f"{name}({', '.join(map(_short, arguments))})"
        try:
            if name == "crop" and len(arguments) == 1:
                image, words = crop(at.object(arguments[0]), at.world.scene)
                return ToolResult(f"{told} = {words}", (image,))
            count, tool = _TOOLS.get(name, (0, None))
            if tool is None or count != len(arguments):
                raise CallError(f"there is no such call; there are {_FORMS}")
            return ToolResult(f"{told} = {tool(at, *arguments)}")
        except CallError as error:
            return ToolResult(f"{told}: {error}")


def crop(thing: SceneObject, scene: Scene) -> tuple[ChatImage, str]:
    """Return an object cut from the view frame that shows most of it, at most 384 pixels wide or high; and from which.

    Raises CallError where no view frame marks it.
    """
    best: tuple[float, ViewFrame, F64, F64] | None = None
    for view in scene.views:
        mark = next((m for m in view.markers if scene.find(m.object_id) is thing), None)
        if mark is None:
            continue
        low, high = _outline(thing, view)
        if low is None or high is None:  # partly behind the camera: too near to show it as a whole
            continue
        limit = np.array([view.intrinsics.width, view.intrinsics.height], dtype=np.float64)
        spot = np.array([mark.u, mark.v])
        low, high = np.minimum(low, spot), np.maximum(high, spot)
        inside = np.clip(high, 0, limit) - np.clip(low, 0, limit)
        whole = float(np.prod(inside) / max(float(np.prod(high - low)), 1.0))
        # The number stands where the object is really seen: far from its middle, something is in front of it
        aside = float(np.max(np.abs(spot - (low + high) / 2) / np.maximum((high - low) / 2, 1)))
        worth = float(np.prod(np.maximum(inside, 1))) * whole**2 * max(1 - aside, 0.02) ** 2
        if best is None or worth > best[0]:
            best = (worth, view, np.clip(low, 0, limit), np.clip(high, 0, limit))
    if best is None:
        raise CallError("no view frame shows it well enough")
    _, view, low, high = best
    image = cv2.imdecode(np.frombuffer(view.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise CallError(f"view frame {view.id} is damaged")
    rows, columns = image.shape[:2]
    middle, half = (low + high) / 2, np.maximum((high - low) * _AIR, _LEAST_PX) / 2
    x0, y0 = (int(v) for v in np.clip(np.floor(middle - half), 0, [columns - 1, rows - 1]))
    x1, y1 = (int(v) for v in np.clip(np.ceil(middle + half), [x0 + 1, y0 + 1], [columns, rows]))
    cut = image[y0:y1, x0:x1, ::-1]
    scale = min(2.0, _CROP_PX / max(cut.shape[:2]))
    shape = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    pixels = np.ascontiguousarray(
        cv2.resize(cut, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    )
    key = f"crop-{thing.id}-{view.id}-{view.stamp_ns}-{x0}-{y0}-{x1}-{y1}"
    return ChatImage(key, pixels), f"a picture of the {label_of(thing) or 'object'}, cut from frame {view.id}"


def _outline(thing: SceneObject, view: ViewFrame) -> tuple[F64, F64] | tuple[None, None]:
    """Return the corners (2,) of an object's box in a view; None where it is partly behind the camera."""
    pixels, depth = project(transform(invert(view.T_map_camera), thing.box.corners()), view.intrinsics)
    if (depth <= 0.05).any():
        return None, None
    return pixels.min(axis=0), pixels.max(axis=0)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."
