"""Scene and question become a chat: system text, marked view frames, marked bird's-eye view, question.

After Qi et al., "GPT4Scene: Understand 3D Scenes from Videos with Vision-Language Models" (ICLR 2026). What all
questions about a scene share comes first, and of that what changed last comes last, so that a model that keeps what it
has read has little to read anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s3d_ros.chat import Chat, ChatError, ChatImage, Part, Turn
from s3d_ros.prompt.asked import Asked, description, nearest_first, understood
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.frames import Drawn, FrameOrder, draw_frame, frame_key, least_telling_first, marks_of
from s3d_ros.prompt.numbers import Numbering, Numbers, present
from s3d_ros.prompt.overview import Overview, around, draw_overview, legend, whole
from s3d_ros.prompt.situation import in_words, stand_of
from s3d_ros.prompt.tasks import Kind, Task
from s3d_ros.prompt.text import Said, by_label, for_model, labels_named, objects_of, plain, said
from s3d_ros.prompt.wording import system_text, wording
from s3d_ros.types import F64, ErrorCode, Question, Scene, SceneObject, ViewFrame

_TURN_TOKENS = 16  # what a chat template puts around a turn, and
_IMAGE_TOKENS = 4  # around an image; generously
_AT_LENGTH = re.compile(r"\W*(?:please )?(?:describe|explain|tell|why|how (?:do|can|would))\b", re.IGNORECASE)
Talk = Sequence[tuple[Said, Said]]  # earlier questions and their answers
Beside = Callable[[ChatImage, ViewFrame, F64], ChatImage]


@dataclass(frozen=True)
class Budget:
    """How much fits. tokens: of the prompt. count: tokens of a part."""

    tokens: int
    count: Callable[[Part], int]


@dataclass(frozen=True)
class Prompt:
    """A chat, and what is needed to read its reply. views: IDs of the view frames in it, as ordered; bev: likewise."""

    chat: Chat
    asked: Asked
    numbering: Numbering
    objects: dict[int, SceneObject]
    views: tuple[int, ...]
    bev: Overview | None


@dataclass(frozen=True)
class _Frame:
    view: ViewFrame
    caption: str
    image: ChatImage


class Prompter:
    """Makes prompts of one map. Remembers its numbers, the order of its frames, and what it drew. Thread-safe.

    beside: puts beside a drawn view frame what the model needs to know of it, given the frame and the map's up.
    """

    def __init__(self, config: PromptConfig | None = None, beside: Beside | None = None) -> None:
        self.config = config or PromptConfig()
        self._beside = beside
        self.drawn = Drawn(2 * self.config.frames + 16)
        self.system = system_text(self.config.wording, self.config.bev, self.config.markers, self.config.frames > 0)
        self.forget()

    def forget(self) -> None:
        """Forget the map: another one has other numbers."""
        self._numbers = Numbers()
        self._order = FrameOrder()
        self._first_ns: int | None = None
        self._last_whole: tuple[tuple[Any, ...], Overview | None] | None = None

    def shared(self, scene: Scene, budget: Budget | None = None) -> Chat:
        """Return a chat of only what the questions about a scene share, to be read ahead."""
        numbering = self._numbers.of(scene)
        view = self._whole(scene, numbering)
        tail = None if view is None else self._bev_parts(view, numbering)
        frames = self._frames(scene, numbering, budget, tail or self._reserved(scene, numbering), 0)
        parts = self._shared_parts(frames, tail)
        return Chat(self.system, (Turn("user", parts),), len(parts))

    def text(
        self,
        question: str,
        objects: Mapping[int, SceneObject],
        numbering: Numbering,
        options: Sequence[tuple[str, str]] = (),
        variant: int = 0,
    ) -> tuple[Kind, str]:
        """Return what a question is, and the text that ends its prompt where no place to stand at is told."""
        asked = understood(Question(question), objects, {}, options, None, self.config.markers)
        return asked.kind, self._question_text(asked, numbering, objects, "", False, (), "", variant)

    def build(
        self,
        question: Question,
        scene: Scene,
        *,
        options: Sequence[tuple[str, str]] = (),
        measured: Sequence[str] = (),
        instructions: str = "",
        talk: Talk = (),
        after: Sequence[Turn] = (),
        budget: Budget | None = None,
        variant: int = 0,
        task: Task | None = None,
        situation: str = "",
    ) -> Prompt:
        """Make the prompt for a question.

        measured: facts of the map, a line each, objects as "#12". instructions: how to use tools, trusted text.
        talk: of the same conversation; its oldest parts are left out where it is too long. after: turns that follow
        the question. budget: the least telling view frames are left out until all fits. variant: of the wording.
        task: what the question is, where its words don't tell as in training: for grounding, it is then the
        description alone. situation: where the asker stands, in words instead of by a pose.
        Raises ChatError where even the question and the bird's-eye view don't fit.
        """
        objects = {o.id: o for o in present(scene)}
        resolved = self._numbers.of(scene).resolved
        asked = understood(question, objects, resolved, options, task, self.config.markers)
        told = [said(line, objects, resolved) for line in measured] if self.config.measured else []
        named = [*asked.kind.objects, *(i for words in told for i in objects_of(words))]
        spoken = [i for pair in reversed(talk) for words in pair for i in objects_of(words)]
        place = stand_of(question, scene)
        stand = place if asked.kind.situated and not situation else None
        called = labels_named("".join(p for p in asked.question if isinstance(p, str)), list(objects.values()))
        labelled = nearest_first(called, objects, asked.kind.objects, place)[: self.config.bev_markers]
        numbering = self._numbers.of(scene, [*named, *spoken, *labelled])

        shared_bev = self._whole(scene, numbering)
        wanted = [*named, *labelled]
        marked = set() if shared_bev is None else {o.id for o in shared_bev.marked}
        own_bev = None
        unmarked = self.config.markers and not set(wanted) <= marked
        if self.config.bev and (stand is not None or unmarked or shared_bev is None):
            near = None if wanted or stand else place  # not drawn, but what is about it is shown
            own_bev = around(scene, numbering, self.config, wanted, stand, near)
        bev = own_bev or shared_bev
        bev_parts = () if bev is None else self._bev_parts(bev, numbering)
        where = plain(situation)
        if stand is not None:
            drawn = bev is not None and bev.stand is not None
            where = in_words(stand, scene, numbering, present(scene), drawn, self.config.markers)
        sought = task is not None and asked.kind.task in (Task.GROUND_ONE, Task.GROUND_MANY)
        text = self._question_text(asked, numbering, objects, where, sought, told, instructions, variant)

        tail: tuple[Part, ...] = (*(bev_parts if own_bev is not None else ()), text)
        spent = 0 if budget is None else self._spent((text, *(p for t in after for p in t.parts)), budget, len(after))
        frames = self._frames(scene, numbering, budget, bev_parts, spent)
        shared_parts = self._shared_parts(frames, bev_parts if own_bev is None else None)
        turns = [(self._words(q, numbering, objects), self._words(a, numbering, objects)) for q, a in talk]
        if budget is not None:
            turns = self._fitting(turns, budget, spent + self._spent((*shared_parts, *tail[:-1]), budget, 1))
        chat = Chat(self.system, _turns(shared_parts, turns, tail, after), len(shared_parts))
        known = numbering if self.config.markers else Numbering({}, {}, numbering.resolved)  # by what can be seen
        return Prompt(chat, asked, known, objects, tuple(f.view.id for f in frames), bev)

    def _frames(
        self, scene: Scene, numbering: Numbering, budget: Budget | None, bev_parts: Sequence[Part], spent: int
    ) -> list[_Frame]:
        """Return the frames that fit, in order of change. The same for every question of ordinary length."""
        config = self.config
        kept = set(range(len(scene.views)))
        if len(kept) > config.frames:
            kept -= set(least_telling_first(scene.views, numbering)[: len(kept) - config.frames])
        if self._first_ns is None and scene.views:
            seen = [o.first_seen_ns for o in scene.objects if o.first_seen_ns > 0]
            self._first_ns = min([v.stamp_ns for v in scene.views] + seen)
        made = {i: self._frame(scene.views[i], numbering, scene.up) for i in kept}
        if budget is not None:
            reserve = max(spent, min(config.question_tokens, budget.tokens // 4))
            room = budget.tokens - self._spent((self.system, *bev_parts), budget, 2) - reserve
            if room < 0:
                long = spent > budget.tokens // 2
                raise ChatError(
                    ErrorCode.BAD_QUESTION if long else ErrorCode.MODEL_FAILED,
                    f"the question and the bird's-eye view take {budget.tokens - room} tokens and {budget.tokens} fit: "
                    + ("ask shorter" if long else "make prompt.bev_px smaller, or give the model a longer context"),
                )
            cost = {i: self._spent((f.caption, f.image) if config.captions else (f.image,), budget, 0)
                    for i, f in made.items()}  # fmt: skip
            if sum(cost.values()) > room:
                for i in least_telling_first(scene.views, numbering):
                    kept.discard(i)
                    if sum(cost[k] for k in kept) <= room:
                        break
        by_time = sorted(kept, key=lambda i: (scene.views[i].stamp_ns, scene.views[i].id))
        order = self._order.sort([made[i].image.key for i in by_time])
        return [made[by_time[i]] for i in order]

    def _whole(self, scene: Scene, numbering: Numbering) -> Overview | None:
        """Return the view of all that is known; the last one again where nothing that it shows is another."""
        if not self.config.bev:
            return None
        key = (scene.bev, scene.objects, [(v.id, v.revision) for v in scene.views], dict(numbering.number_of))
        last = self._last_whole
        if (
            last is not None
            and last[0][0] is key[0]
            and len(last[0][1]) == len(key[1])
            and all(a is b for a, b in zip(last[0][1], key[1], strict=True))
            and last[0][2:] == key[2:]
        ):
            return last[1]
        view = whole(scene, numbering, self.config)
        self._last_whole = key, view
        return view

    def _frame(self, view: ViewFrame, numbering: Numbering, up: F64) -> _Frame:
        marks = marks_of(view, numbering) if self.config.markers else ()
        image = self.drawn.get(
            frame_key(view, marks, numbering, self.config),
            lambda: draw_frame(view, marks, numbering.number_of, self.config),
        )
        if self._beside is not None:
            image = self._beside(image, view, up)
        seconds = (view.stamp_ns - (self._first_ns or 0)) / 1e9
        return _Frame(view, f"Frame {view.id}, {seconds:.1f} s:", image)

    def _bev_parts(self, view: Overview, numbering: Numbering) -> tuple[Part, ...]:
        image = self.drawn.get(view.key, lambda: draw_overview(view, numbering, self.config))
        what = "Bird's-eye view of the whole scene" if view.whole else "Bird's-eye view of a part of the scene"
        if self.config.bev_square_m:
            what += f", {view.bev.color.shape[1] * view.bev.resolution_m:g} m wide"
        if view.stand is not None:
            mark = "arrow is where I stand and look" if view.stand.heading is not None else "square is where I stand"
            what += f"; the magenta {mark}"
        told = (f"{what}:",) if self.config.captions or view.stand is not None else ()
        below = legend(view.marked, numbering) if self.config.legend else ""
        return (*told, image, below) if below else (*told, image)

    def _reserved(self, scene: Scene, numbering: Numbering) -> tuple[Part, ...]:
        """Return a bird's-eye view such as questions bring themselves, where they share none."""
        view = around(scene, numbering, self.config, (), None) if self.config.bev else None
        return () if view is None else self._bev_parts(view, numbering)

    def _shared_parts(self, frames: Sequence[_Frame], bev_parts: Sequence[Part] | None) -> tuple[Part, ...]:
        parts: list[Part] = []
        for frame in frames:
            parts += [frame.caption, frame.image] if self.config.captions else [frame.image]
        return (*parts, *(bev_parts or ()))

    def _question_text(
        self, asked: Asked, numbering: Numbering, objects: Mapping[int, SceneObject], situation: str, sought: bool,
        told: Sequence[Said], instructions: str, variant: int,
    ) -> str:  # fmt: skip
        question = " ".join(self._words(asked.question, numbering, objects).split())
        about = next((t for t in map(numbering.token_of, asked.kind.objects) if t), "the object")
        lines = []
        if told:
            lines += ["Measured in the map:", *(f"- {self._words(words, numbering, objects)}" for words in told)]
        if instructions:
            lines.append(instructions)
        text = wording(
            self.config.wording,
            asked.kind.task,
            question=question,
            situation=situation,
            description=question if sought else description(question),
            object_token=about,
            options=asked.options,
            at_length=_AT_LENGTH.match(question) is not None,
            variant=variant,
            markers=self.config.markers,
        )
        lines.append(text)
        return "\n".join(lines)

    def _words(self, words: Said, numbering: Numbering, objects: Mapping[int, SceneObject]) -> str:
        """Write objects so that the model knows which are meant: by the number that it sees, else by label."""
        return for_model(words, numbering) if self.config.markers else by_label(words, objects)

    def _spent(self, parts: Sequence[Part], budget: Budget, turns: int) -> int:
        images = sum(isinstance(p, ChatImage) for p in parts)
        return sum(budget.count(p) for p in parts) + _IMAGE_TOKENS * images + _TURN_TOKENS * turns

    def _fitting(self, turns: list[tuple[str, str]], budget: Budget, spent: int) -> list[tuple[str, str]]:
        room = budget.tokens - spent - self._spent((self.system,), budget, 2)
        cost = [self._spent(pair, budget, 2) for pair in turns]
        while turns and sum(cost) > room:
            turns, cost = turns[1:], cost[1:]
        return turns


def _turns(
    shared: tuple[Part, ...], talk: Sequence[tuple[str, str]], tail: tuple[Part, ...], after: Sequence[Turn]
) -> tuple[Turn, ...]:
    out: list[Turn] = []
    first = shared
    for question, reply in talk:
        out += [Turn("user", (*first, question)), Turn("assistant", (reply,))]
        first = ()
    return (*out, Turn("user", (*first, *tail)), *after)
