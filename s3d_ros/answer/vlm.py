"""Asks a vision-language model: scene and question become a prompt, its reply becomes an answer.

Which model, and where it runs, is the ``ChatModel``'s business: a child process with a GPU, or a server.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from s3d_ros.answer.base import UNWATCHED, Progress
from s3d_ros.answer.conversations import Conversations
from s3d_ros.answer.options import read_options
from s3d_ros.answer.refusal import Refusal
from s3d_ros.chat import Chat, ChatError, ChatImage, ChatModel, ChatReply, Part, Turn
from s3d_ros.prompt.build import Beside, Budget, Prompt, Prompter
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.numbers import present
from s3d_ros.prompt.replies import partial, read_reply, tidy
from s3d_ros.prompt.tasks import Task
from s3d_ros.prompt.text import by_id, for_model, for_people, heard, said
from s3d_ros.types import Answer, ErrorCode, Question, Scene

_COUNTS_KEPT = 4096


class Told(Protocol):
    """What the map told a model that asked."""

    @property
    def measured(self) -> str:
        """A line for people and for the model, objects as "#12"."""
        ...

    @property
    def images(self) -> tuple[ChatImage, ...]:
        """Pictures that go with it."""
        ...


class Tools(Protocol):
    """What a model may ask the map (``answer.tools.MapTools``). Texts have objects as "#12"."""

    instructions: str  # for the prompt: how to ask

    def asks(self, text: str) -> bool:
        """Say whether a model's text asks the map for something."""
        ...

    def run(self, text: str, scene: Scene, question: Question | None = None) -> Sequence[Told]:
        """Do what a model's text asks for; nothing when the text is the answer."""
        ...


class VlmAnswerer:
    """An answerer that a language model stands behind. Safe to call from several threads.

    name: as ``Answer.answered_by`` says it. max_new_tokens: of a reply. tools: what a model may ask the map, and
    how often: tool_rounds. conversations: so many are remembered, each with its last turns.
    on_prompt: gets every chat that is asked, and its reply's text: for ``--show``. beside: as ``Prompter`` has it.
    """

    def __init__(
        self,
        chat: ChatModel,
        config: PromptConfig | None = None,
        *,
        name: str = "",
        max_new_tokens: int = 128,
        conversations: int = 64,
        conversation_turns: int = 8,
        tools: Tools | None = None,
        tool_rounds: int = 3,
        on_prompt: Callable[[Chat, str], None] = lambda chat, reply: None,
        beside: Beside | None = None,
    ) -> None:
        self.name = name or chat.name
        self.prompter = Prompter(config, beside)
        self._chat = chat
        self._max_new_tokens = max_new_tokens
        self._talks = Conversations(conversations, conversation_turns)
        self._tools = tools
        self._tool_rounds = tool_rounds
        self._on_prompt = on_prompt
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._counts_lock = threading.Lock()
        self._ahead = _Latest(self._warm)

    def missing(self) -> str:
        """Say why the model can't be asked now, empty when it can."""
        return self._chat.missing()

    def update(self, scene: Scene) -> None:
        """Have the model read the scene ahead, once per version, in a thread of its own."""
        self._ahead.put(scene)

    def forget(self) -> None:
        """Forget the map and all that was said about it: call it when another map takes its place."""
        self.prompter.forget()
        self._talks.forget()
        self._ahead.forget()

    def close(self) -> None:
        """Let go of the model."""
        self._ahead.close()
        self._chat.close()

    def answer(self, question: Question, scene: Scene, progress: Progress = UNWATCHED) -> Answer:
        """Answer one question from one scene. Never raises."""
        return self.ask(question, scene, progress)

    def ask(
        self,
        question: Question,
        scene: Scene,
        progress: Progress = UNWATCHED,
        *,
        measured: Sequence[str] = (),
    ) -> Answer:
        """Answer, knowing what was measured: a line each, objects as "#12"."""
        try:
            answer = self._answer(question, scene, progress, measured, self._tools)
        except ChatError as error:
            answer = Answer(text=str(error), error=error.code, measured=tuple(measured))
        except Refusal as refusal:
            answer = Answer(text=refusal.text, error=refusal.code, objects=refusal.objects)
        except Exception as error:  # a robot must get a reply, whatever a model or a scene holds
            text = f"This went wrong inside: {type(error).__name__}: {error}"
            answer = Answer(text=text, error=ErrorCode.INTERNAL)
        return replace(answer, answered_by=self.name, map_version=scene.map_version, stamp_ns=scene.stamp_ns)

    def heed(self, question: Question, answer: Answer, scene: Scene) -> None:
        """Take note of what somebody else answered in a conversation, so that follow-up questions can be about it."""
        if answer.success or answer.error == ErrorCode.AMBIGUOUS:
            objects = {o.id: o for o in present(scene)}
            asked, told = said(question.text, objects, scene.merged), said(answer.text, objects, scene.merged)
            self._talks.add(question.conversation_id, asked, told)

    def has_talked(self, conversation_id: str) -> bool:
        """Say whether something was said in a conversation."""
        return bool(self._talks.talk(conversation_id))

    def _answer(
        self, question: Question, scene: Scene, progress: Progress, measured: Sequence[str], tools: Tools | None
    ) -> Answer:
        self._check(question)
        text, options = read_options(question.text, question.options)
        self._check_ready(scene)
        question = replace(question, text=text)
        told = list(measured)
        after: list[Turn] = []
        progress.on_stage("reading", "")
        talk = self._talks.talk(question.conversation_id)
        for rounds in range(self._tool_rounds + 1):
            prompt = self.prompter.build(
                question,
                scene,
                options=[(o.letter, o.text) for o in options],
                measured=measured,
                instructions=tools.instructions if tools else "",
                talk=talk,
                after=after,
                budget=self._budget(),
            )
            reply = self._say(prompt, progress, tools)
            words = heard(tidy(reply.text), prompt.numbering)
            if tools is None or not tools.asks(by_id(words)):
                break
            if rounds == self._tool_rounds:
                text = f"The model asked the map {rounds} times and did not answer: ask in other words."
                return Answer(text, ErrorCode.NOT_SETTLED, measured=tuple(told))
            results = tools.run(by_id(words), scene, question)
            told += [r.measured for r in results]
            after += [Turn("assistant", (for_model(words, prompt.numbering),))]
            after += [_told(results, prompt, last=rounds + 1 == self._tool_rounds)]
            progress.on_stage("reading", "")
        answer, spoken = _read(prompt, reply)
        if answer.success:
            self._talks.add(question.conversation_id, prompt.asked.question, spoken)
        return replace(answer, measured=tuple(told))

    def _say(self, prompt: Prompt, progress: Progress, tools: Tools | None) -> ChatReply:
        def on_text(text: str) -> None:
            words = heard(tidy(partial(text)), prompt.numbering)
            if tools is not None and tools.asks(by_id(words)):
                return  # no part of the answer
            progress.on_stage("answering", for_people(words, prompt.objects))

        if progress.cancelled.is_set():
            raise ChatError(ErrorCode.CANCELLED, "cancelled by the asker")
        reply = self._chat.ask(prompt.chat, self._max_new_tokens, on_text, progress.cancelled)
        self._on_prompt(prompt.chat, reply.text)
        if reply.stopped == "cancelled" or progress.cancelled.is_set():
            raise ChatError(ErrorCode.CANCELLED, "cancelled by the asker")
        return reply

    def _check(self, question: Question) -> None:
        if not isinstance(question.text, str) or not any(c.isalnum() for c in question.text):
            raise ChatError(ErrorCode.BAD_QUESTION, "The question is empty: ask something in words.")
        longest = self.prompter.config.max_question_characters
        if len(question.text) > longest:
            raise ChatError(
                ErrorCode.BAD_QUESTION,
                f"The question is too long: {len(question.text)} characters; at most {longest} can be read.",
            )

    def _check_ready(self, scene: Scene) -> None:
        lacking = " and ".join(
            what
            for what, there in (
                ("no view frames", scene.views or not self.prompter.config.frames),
                ("no bird's-eye view", scene.bev or not self.prompter.config.bev),
            )
            if not there
        )
        if lacking:
            raise ChatError(ErrorCode.NOT_READY, f"The map holds {lacking} yet: look around first.")
        if missing := self._chat.missing():
            raise ChatError(ErrorCode.NOT_READY, missing)

    def _budget(self) -> Budget:
        return Budget(self._chat.context_tokens() - self._max_new_tokens, self._count)

    def _count(self, part: Part) -> int:
        """Count a part's tokens; an image's once, for counting may mean asking another process."""
        key = part.key if isinstance(part, ChatImage) else f"text {part}"
        with self._counts_lock:
            if key in self._counts:
                self._counts.move_to_end(key)
                return self._counts[key]
        count = self._chat.count_tokens(part)
        with self._counts_lock:
            if len(key) < 1000:
                self._counts[key] = count
            while len(self._counts) > _COUNTS_KEPT:
                self._counts.popitem(last=False)
        return count

    def _warm(self, scene: Scene) -> bool:
        """Have a scene read ahead; return whether that is done."""
        shown = self.prompter.config
        if self._chat.missing() or (shown.frames and not scene.views) or (scene.bev is None and shown.bev):
            return False
        self._chat.warm(self.prompter.shared(scene, self._budget()))
        return True


def _read(prompt: Prompt, reply: ChatReply) -> tuple[Answer, tuple[str | int, ...]]:
    """Return the answer that a reply is, and its words for the talk."""
    task, options = prompt.asked.kind.task, prompt.asked.options
    reading = read_reply(reply.text, task, prompt.numbering, options)
    text = " ".join(for_people(reading.said, prompt.objects).split())
    if reply.stopped == "length" and text:
        text += " ..."
    confidence = 0.0 if math.isnan(reply.confidence) else float(min(max(reply.confidence, 0.0), 1.0))
    objects = reading.objects
    if task == Task.CAPTION and not options:
        objects = tuple(dict.fromkeys((*prompt.asked.kind.objects, *objects)))
    answer = Answer(
        text, value=reading.value, unit=reading.unit, choice=reading.choice, objects=objects, confidence=confidence,
        viewpoint=_viewpoint(prompt),
    )  # fmt: skip
    if not text:
        return replace(answer, text="The model said nothing.", error=ErrorCode.NOT_SETTLED), reading.said
    if options and not reading.choice:
        answer = replace(answer, text=f"The model chose none of the options: {text!r}", error=ErrorCode.NOT_SETTLED)
    elif reading.unknown and not objects and task in (Task.GROUND_ONE, Task.GROUND_MANY):
        answer = replace(
            answer, text=f"The model named only what the map does not hold: {text!r}", error=ErrorCode.NOT_SETTLED
        )
    return answer, reading.said


def _viewpoint(prompt: Prompt) -> str:
    if not prompt.asked.kind.situated or prompt.bev is None or prompt.bev.stand is None:
        return ""
    return "from the situation's pose" if prompt.asked.given_situation else "from the robot's latest pose"


def _told(results: Sequence[Told], prompt: Prompt, last: bool) -> Turn:
    lines = [for_model(said(r.measured, prompt.objects, prompt.numbering.resolved), prompt.numbering) for r in results]
    if last:
        lines.append("Now answer the question.")
    images = tuple(image for r in results for image in r.images)
    return Turn("user", ("\n".join(lines), *images))


class _Latest:
    """Does something with the latest scene, once per version, in a thread that lives only while there is work."""

    def __init__(self, work: Callable[[Scene], bool]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._waiting: Scene | None = None
        self._thread: threading.Thread | None = None
        self._done: int | None = None
        self._closed = False

    def put(self, scene: Scene) -> None:
        """Have this scene worked on after the one in work; one that waits is replaced."""
        with self._lock:
            if self._closed or scene.map_version == self._done:
                return
            self._waiting = scene
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="reading ahead", daemon=True)
                self._thread.start()

    def forget(self) -> None:
        """Versions are another map's from now on."""
        with self._lock:
            self._done = self._waiting = None

    def close(self, timeout_s: float = 1.0) -> None:
        """Take nothing more; wait a moment for what is in work."""
        with self._lock:
            self._closed, self._waiting = True, None
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def wait(self) -> None:
        """Wait until nothing is in work."""
        while (thread := self._thread) is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                scene, self._waiting = self._waiting, None
                if scene is None or scene.map_version == self._done:
                    self._thread = None
                    return
            try:
                done = self._work(scene)
            except Exception:  # the question that needs it will say what is wrong
                done = False
            with self._lock:
                if done:
                    self._done = scene.map_version
