"""Records of a training set as tokens and pictures, in batches of like length, made while the step before runs.

A record holds what the prompter wrote and drew. It becomes a chat again, part for part, and goes through the tokens
and the processor that the engine answers with: a model is asked as it was taught. What a batch holds is a function of
the seed and its number alone, so a run can go on anywhere.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from s3d_ros.chat import Chat, ChatImage, Part, Turn
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.batch import IGNORED, Batch, Made, Sample, Seen, joined
from s3d_ros.train.config import DataConfig, TrainError
from s3d_ros.train.parts.base import Example, RunPart
from s3d_ros.train.reader import SceneData, TrainingRecord, TrainingSet
from s3d_ros.train.sharegpt import chat_parts
from s3d_ros.train.together import Unit, grouped, together
from s3d_ros.train.unlabelled import silent_chat, with_text
from s3d_ros.vlm.beside import DEPTH, beside_depth
from s3d_ros.vlm.config import ModelError
from s3d_ros.vlm.family import Family
from s3d_ros.vlm.tokens import I64, Prompt, PromptMaker

_LISTED = 3  # bad records named in a message
# What is marked: a line each, in older sets all in one
_LEGEND = re.compile(r"^Marked:(?: [^\n]*)?\n(?:[^\n=]+=<OBJ\d{3}>\n)*")
# Kinds that ask for the order of the frames, which is theirs in time
_IN_ORDER = re.compile(r"appearance_order|^camera_|^obj_obj_relative_pos|first|frame")


def chat_of(record: TrainingRecord, picture: Callable[[str], ChatImage]) -> tuple[Chat, str]:
    """Return the chat that a record is about and the answer to be learnt. picture: by its member's name."""
    pictures = (picture(name) for name in record.images)
    sides = {"human": "user", "gpt": "assistant"}
    turns = [Turn(sides[c["from"]], chat_parts(c["value"], pictures)) for c in record.conversations[:-1]]  # type: ignore[arg-type]
    return Chat(record.system, tuple(turns)), record.conversations[-1]["value"]


def shuffled(chat: Chat, rng: np.random.Generator) -> Chat:
    """Return the chat with its view frames, each with the caption before it, in another order; the rest stays."""
    first = chat.turns[0]
    groups: list[tuple[Part, ...]] = []
    waiting: tuple[Part, ...] = ()
    for part in first.parts:
        waiting = (*waiting, part)
        if isinstance(part, ChatImage):
            groups.append(waiting)
            waiting = ()
    views = [i for i, g in enumerate(groups) if isinstance(g[-1], ChatImage) and ".view" in g[-1].key]
    order = list(range(len(groups)))
    for at, taken in zip(views, rng.permutation(views).tolist(), strict=True):
        order[at] = taken
    parts = tuple(part for i in order for part in groups[i])
    return replace(chat, turns=(Turn(first.role, (*parts, *waiting)), *chat.turns[1:]))


def without_legend(text: str) -> str:
    """Return a text without the list of what the bird's-eye view before it marks."""
    return _LEGEND.sub("", text)


def without_bev(chat: Chat) -> Chat:
    """Return the chat without bird's-eye views, their captions, and the lists of what they mark."""
    turns = []
    for turn in chat.turns:
        parts: list[Part] = []
        for part in turn.parts:
            if isinstance(part, ChatImage) and ".bev" in part.key:
                if parts and isinstance(parts[-1], str):
                    parts.pop()
            else:
                parts.append(without_legend(part) if isinstance(part, str) else part)
        turns.append(replace(turn, parts=tuple(parts)))
    return replace(chat, turns=tuple(turns))


class Samples:
    """The samples of a training set. Made in one thread at a time; the model is used for its positions only.

    indices: of records; -1 - number for a scene of which only the pictures are learnt from. parts: see ``use``.
    """

    def __init__(
        self, config: DataConfig, split: str, family: Family, seed: int, pictures: bool = False, lead: int = -1
    ) -> None:
        """pictures: scenes without text are of use, too: those of ``text_share``, and those that nothing is asked of.
        lead: a token that answers begin with where objects are asked for; -1: none.

        Raises DatasetError for a set that is not whole, TrainError for one without records.
        """
        self.config, self.family, self.seed, self.lead = config, family, seed, lead
        if not config.set:
            raise TrainError("data.set is empty: name the folder of a training set (s3d dataset build)")
        if config.together > 1 and family.needs_types == "token_type_ids":
            raise TrainError(
                f"data.together = {config.together} can't be used with a {family.model.config.model_type}, whose "
                "pictures look at what comes after them; set it to 1"
            )
        self.records = TrainingSet(config.set, split)
        processor = family.processor
        self.prompts = PromptMaker(
            processor.tokenizer, processor.chat_template, family.placeholder, family.image_token_id, family.layout
        )
        self._ends: tuple[int, ...] = _end_tokens(family.model, processor.tokenizer)
        count = min(config.records or len(self.records), len(self.records))
        self.indices = self._with_silent(count) if pictures else list(range(count))
        self.lengths: dict[int, int] = {}
        self._sharing: dict[int, tuple[Any, ...]] = {}
        self.parts: tuple[RunPart, ...] = ()
        self._kept: OrderedDict[str, tuple[dict[str, torch.Tensor], Made]] = OrderedDict()
        self._kept_bytes = 0
        if not count:
            raise TrainError(f"{config.set} has no records in its split {split!r}; build it with more questions")

    def use(self, parts: Sequence[RunPart]) -> None:
        """Let the parts of a run add to pictures and examples from now on. Raises TrainError where depth is missing."""
        self.parts = tuple(parts)
        if any(p.needs_grid for p in parts):  # a family whose is not known is refused here
            image = self.sample(self.indices[0]).images[0]
            self.family.grid(image, self.family.pixel_inputs(image))
        needing = [p.name for p in parts if DEPTH in p.needs]
        for scene in self.records.scenes() if needing else ():
            without = [str(v.id) for v in scene.views if v.depth is None]
            if without:
                raise TrainError(
                    f"{', '.join(needing)}: {scene.key} has no depth of its views {', '.join(without[:_LISTED])}; "
                    "build the set of recordings, simulated homes or runs that keep it, or switch that part off"
                )

    def measure(self, limit: int, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Look at all records and note how long they are, without their pictures.

        limit: tokens that the model was made for, 0 if it says none. Raises RecordError for a bad one, TrainError for
        those that are too long; with ``too_long: leave_out`` they go.
        """
        config = self.config
        most = min(config.max_tokens, limit or config.max_tokens)
        long: list[str] = []
        indices = list(dict.fromkeys(self.indices))
        for done, index in enumerate(indices):
            sample = self._sample(index, None)
            answer = int((sample.labels != IGNORED).sum())
            where = self._scene(index).key + (f"/{self.records[index].id}" if index >= 0 else "")
            if answer > config.max_answer_tokens:
                long.append(f"{where}: its answer has {answer} tokens, data.max_answer_tokens is "
                            f"{config.max_answer_tokens}")  # fmt: skip
            elif len(sample.ids) > most:
                of = "data.max_tokens" if most == config.max_tokens else "the model's context"
                long.append(f"{where} has {len(sample.ids)} tokens, {of} is {most}")
            else:
                self.lengths[index] = len(sample.ids)
            progress(done + 1, len(indices))
        if long and (config.too_long == "refuse" or not self.lengths):
            more = f"; and {len(long) - _LISTED} more" if len(long) > _LISTED else ""
            raise TrainError(
                f"records are too long: {'; '.join(long[:_LISTED])}{more}. Raise the limit, build the set with "
                "fewer or smaller pictures, or set data.too_long to leave_out"
            )
        self.indices = [i for i in self.indices if i in self.lengths]

    def batches(self, epoch: int, size: int) -> list[list[Unit]]:
        """Return an epoch's records, shuffled, in batches of like length; the last one may be smaller."""
        rng = np.random.default_rng((self.seed, epoch, 1))
        order: list[Unit] = [self.indices[i] for i in rng.permutation(len(self.indices))]
        if self.config.together > 1:
            order = grouped(order, {i: self._shares(i) for i in self.indices}, self.config.together)  # type: ignore[arg-type]
            order = [order[i] for i in rng.permutation(len(order))]
        pool = size * self.config.buckets
        out: list[list[Unit]] = []
        for at in range(0, len(order), pool):
            mine = sorted(order[at : at + pool], key=self._length)  # stable: ties stay shuffled
            out += [mine[k : k + size] for k in range(0, len(mine), size)]
        return [out[i] for i in rng.permutation(len(out))]

    def sample(self, unit: Unit, epoch: int = 0) -> Sample:
        """Return a record as a sample, its frames shuffled where that is asked for; the images have sizes only."""
        index = _first(unit)
        free = self.config.shuffle_frames and not self._ordered(index)
        told = (self.seed, epoch, index, 2) if index >= 0 else (self.seed, epoch, -index, 4)
        if isinstance(unit, int):
            return self._sample(unit, np.random.default_rng(told) if free else None)
        members = unit if index >= 0 else unit[:1]
        return together([self._sample(i, np.random.default_rng(told) if free else None) for i in members])

    def chat(self, index: int) -> tuple[Chat, str]:
        """Return the chat of a record with its pictures, as it is asked, and the right answer."""
        record = self.records[index]
        chat, answer = chat_of(record, lambda name: self._image(record.scene, name))
        return self._shown(chat), answer

    def batch(self, indices: Sequence[Unit], epoch: int, step: int = -1, number: int = 0) -> Batch:
        """Return a micro-batch on the CPU. step: the optimiser's, -1 in evaluation; number: the micro-batch's."""
        samples = [self.sample(i, epoch) for i in indices]
        named = [(row, image) for row, s in enumerate(samples) for image in s.images]
        scenes = [self._scene(_first(i)) for i in indices]
        made = [self._inputs(scenes[row], image.key) for row, image in named]
        blank = self.family.processor.tokenizer.pad_token_id or 0
        batch = joined(samples, self.family.grouped([inputs for inputs, _ in made]), blank)
        if not self.parts:
            return batch
        counts = [count for s in samples for count in s.counts]
        seen = (
            Seen(row, image.key, count, of)
            for (row, image), count, (_, of) in zip(named, counts, made, strict=True)
        )  # fmt: skip
        extra = (
            self._extra(_first(i), s, step, np.random.default_rng((self.seed, number, row, 3)))
            for row, (i, s) in enumerate(zip(indices, samples, strict=True))
        )
        return replace(batch, pictures=tuple(seen), extra=tuple(extra), step=step)

    def _extra(self, index: int, sample: Sample, step: int, rng: np.random.Generator) -> Made:
        record = self.records[index] if index >= 0 else None
        names = tuple(image.key for image in sample.images)
        objects = None if record is None or not _grounds(record) else record.objects
        example = Example(self._scene(index), names, objects, step, rng)
        return {part.name: part.example(example) for part in self.parts}

    def _with_silent(self, count: int) -> list[int]:
        """Return the first records but those whose text is left out; for these, and for scenes without any, their
        scenes, as often as they would have been asked about."""
        scenes = [self.records.scene_of(i) for i in range(count)]
        asked = set(scenes)
        told = with_text(map(self.records.key_of, asked), self.config.text_share, self.seed)
        quiet = set() if self.config.records else set(range(self.records.scene_count)) - asked
        mean = max(1, round(count / max(len(asked), 1)))
        kept = [i if self.records.key_of(s) in told else -1 - s for i, s in enumerate(scenes)]
        return kept + [-1 - s for s in sorted(quiet) for _ in range(mean)]

    def _scene(self, index: int) -> SceneData:
        return self.records.scene(-1 - index if index < 0 else self.records.scene_of(index))

    def _bare(self, index: int) -> tuple[Chat, str]:
        """Return a record's chat, its pictures with sizes only, and its answer, "" where only pictures are learnt."""
        if index >= 0:
            chat, answer = _without_pixels(self.records[index])
            return self._shown(chat), answer
        scene = self._scene(index)
        return self._shown(silent_chat(scene, self.records[0].system, lambda name: _sized(scene, name))), ""

    def _shown(self, chat: Chat) -> Chat:
        return chat if self.config.bev else without_bev(chat)

    def _ordered(self, index: int) -> bool:
        return index >= 0 and _IN_ORDER.search(self.records[index].kind) is not None

    def _shares(self, index: int) -> tuple[Any, ...]:
        """Return what records have in common that can be learnt together: pictures, and whether these stay in order."""
        if index not in self._sharing:
            pictures = (index,) if index < 0 else (self.records[index].scene.key, *self.records[index].images)
            self._sharing[index] = (*pictures, self._ordered(index))
        return self._sharing[index]

    def _length(self, unit: Unit) -> int:
        return self.lengths.get(unit, 0) if isinstance(unit, int) else sum(self.lengths.get(i, 0) for i in unit)

    def _image(self, scene: SceneData, name: str) -> ChatImage:
        """Return a picture of a scene, with what the parts need beside it."""
        pixels = scene.image(name if self.config.marked else name.replace(".marked.", ".plain."))
        return ChatImage(name, pixels, self._beside(scene, name))

    def _beside(self, scene: SceneData, name: str) -> dict[str, Any]:
        if not any(DEPTH in part.needs for part in self.parts):
            return {}
        view = next((v for v in scene.views if v.marked == name), None)
        depth_m = None if view is None else scene.depth_m(view)
        if view is None or depth_m is None:
            return {}  # a bird's-eye view
        depth_mm = np.round(depth_m * 1000).astype(np.uint16)
        return beside_depth(depth_mm, view.intrinsics, view.T_map_camera, np.array(scene.data["up"]))

    def _inputs(self, scene: SceneData, name: str) -> tuple[dict[str, torch.Tensor], Made]:
        """Return the encoder's inputs for a picture, and what parts make of it; the last ones are kept, as a scene's
        questions share them."""
        if name not in self._kept:
            image = self._image(scene, name)
            inputs = self.family.pixel_inputs(image)
            grid = self.family.grid(image, inputs) if any(p.needs_grid for p in self.parts) else None
            made = {p.name: p.picture(scene, image, grid) for p in self.parts}
            self._kept[name] = inputs, made
            self._kept_bytes += _bytes(inputs, *made.values())
            while self._kept_bytes > self.config.cache_gb * 1e9 and len(self._kept) > 1:
                gone, of = self._kept.popitem(last=False)[1]
                self._kept_bytes -= _bytes(gone, *of.values())
        self._kept.move_to_end(name)
        return self._kept[name]

    def _sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        chat, answer = self._bare(index)
        prompt = self.prompts.make(chat if rng is None else shuffled(chat, rng))
        told = self._answer(chat, prompt, answer) if answer else np.zeros(0, np.int64)
        if self.lead >= 0 and index >= 0 and _grounds(self.records[index]):
            told = np.concatenate([[self.lead], told])
        n, k = len(prompt), len(told)
        blank = np.full(k, -1)
        whole = Prompt(
            np.concatenate([prompt.ids, told]), np.concatenate([prompt.keys, told]),
            np.concatenate([prompt.image, blank]), np.concatenate([prompt.row, blank]), prompt.images, prompt.layouts,
        )  # fmt: skip
        labels = np.concatenate([np.full(n, IGNORED), told])
        types = (whole.image >= 0).astype(np.int64)
        counts = tuple(int(layout.is_image.sum()) for layout in prompt.layouts)
        return Sample(whole.ids, labels, types, self.family.positions(whole), prompt.images, counts)

    def _answer(self, chat: Chat, prompt: Prompt, answer: str) -> I64:
        """Return the answer's tokens with the token that ends a turn, as the family's template writes them."""
        user = Turn("user", ("?",))
        whole = self.prompts.make(replace(chat, turns=(*chat.turns, Turn("assistant", (answer,)), user))).ids
        n = len(prompt)
        ends = np.flatnonzero(np.isin(whole[n:], self._ends))
        if len(ends) == 0:
            raise ModelError(
                "its chat template ends a reply with no token that ends generation; take an instruct model"
            )
        told = whole[n : n + int(ends[0]) + 1]
        if len(ends) and (whole[: min(n, len(whole))] == prompt.ids[: len(whole)]).all():
            return told
        return np.array([*self.prompts.plain(answer), int(whole[n + int(ends[0])])], dtype=np.int64)


def _without_pixels(record: TrainingRecord) -> tuple[Chat, str]:
    return chat_of(record, lambda name: _sized(record.scene, name))


def _first(unit: Unit) -> int:
    return unit if isinstance(unit, int) else unit[0]


def _grounds(record: TrainingRecord) -> bool:
    return record.task in (Task.GROUND_ONE, Task.GROUND_MANY)


def _bytes(*held: Mapping[str, torch.Tensor]) -> int:
    return sum(v.nbytes for tensors in held for v in tensors.values())


def _sized(scene: SceneData, name: str) -> ChatImage:
    """Return a picture without its pixels, of the shape that the scene's own list tells."""
    about = next((v for v in scene.data["views"] if v["marked"] == name), None) or scene.data["bevs"].get(name)
    shape = scene.image(name).shape if about is None else (about["height"], about["width"], 3)
    return ChatImage(name, np.broadcast_to(np.uint8(0), shape))


def _end_tokens(model: torch.nn.Module, tokenizer: object) -> tuple[int, ...]:
    """Return the tokens at which the engine stops."""
    generation = getattr(model, "generation_config", None)
    ends = getattr(generation, "eos_token_id", None)
    ends = getattr(tokenizer, "eos_token_id", None) if ends is None else ends
    return tuple(ends) if isinstance(ends, list | tuple) else (int(ends),) if ends is not None else ()
