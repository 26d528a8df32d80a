"""The engine on tiny models made from the real config classes: it says what Transformers' own code says."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_vlm import FAMILIES, make_tiny

from s3d_ros.chat import Chat, ChatError, ChatImage, ChatReply, Part, Turn
from s3d_ros.types import ErrorCode
from s3d_ros.vlm.config import ModelConfig
from s3d_ros.vlm.engine import Asked, Engine
from s3d_ros.vlm.tokens import common_prefix

torch.set_num_threads(1)
CUTTABLE = [f for f in FAMILIES if f not in ("gemma3", "qwen3_5")]
QUESTIONS = ("Where is the chair?", "How many mugs are on the desk, left of the lamp?", "Is it on?", "Which?")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    transformers.utils.logging.disable_progress_bar()
    return {family: make_tiny(family, root / family) for family in FAMILIES}


@pytest.fixture
def qwen(models: dict[str, Path]) -> Engine:
    return Engine(ModelConfig(model=str(models["qwen2_5_vl"])))


def picture(key: str, height: int = 84, width: int = 112) -> ChatImage:
    seed = int.from_bytes(key.encode())
    return ChatImage(key, np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def chat(question: str, keys: Sequence[str] = ("a", "b", "bev"), system: str = "You answer.") -> Chat:
    parts: list[Part] = []
    for k, key in enumerate(keys):
        parts += [f"Picture {k + 1}:", picture(key), "\n"]
    return Chat(system, (Turn("user", (*parts, question)),), shared_parts=len(parts))


def ask(engine: Engine, chats: Sequence[Chat], tokens: int = 10) -> list[ChatReply]:
    events = dict(e for e in engine.ask([Asked(c, tokens) for c in chats]) if not isinstance(e[1], str))
    replies = [events[k] for k in range(len(chats))]
    for reply in replies:
        assert isinstance(reply, ChatReply), reply
    return replies  # type: ignore[return-value]


def said_by_transformers(engine: Engine, said: Chat, tokens: int) -> tuple[list[int], str]:
    """Return the prompt's tokens and the reply of the family's own processor and ``generate``."""
    processor = engine.family.processor
    kinds: list[dict[str, str]] = []
    for part in said.turns[0].parts:
        kinds.append({"type": "image"} if isinstance(part, ChatImage) else {"type": "text", "text": part})
    if engine.family.model.config.model_type in ("llava_onevision", "llava"):
        inline = "".join(k.get("text", processor.image_token) for k in kinds)
        kinds = [{"type": "text", "text": inline}]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": said.system}]},
        {"role": "user", "content": kinds},
    ]
    text = processor.tokenizer.apply_chat_template(
        messages, chat_template=processor.chat_template, tokenize=False, add_generation_prompt=True
    )
    known = processor.image_processor.valid_kwargs.__annotations__
    options: dict[str, Any] = {k: False for k in ("do_image_splitting", "crop_to_patches") if k in known}
    if processor.tokenizer.bos_token and text.startswith(processor.tokenizer.bos_token):
        options["add_special_tokens"] = False
    images: list[Any] = [i.pixels for i in said.images]
    if engine.family.model.config.model_type == "llava_onevision":
        images = [images]
    inputs = processor(images=images, text=[text], return_tensors="pt", **options)
    ids = inputs["input_ids"][0].tolist()
    generated = engine.family.model.generate(**inputs, do_sample=False, max_new_tokens=tokens)[0][len(ids) :].tolist()
    return ids, processor.tokenizer.decode(generated, skip_special_tokens=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_reads_and_says_what_transformers_does(models: dict[str, Path], family: str) -> None:
    engine = Engine(ModelConfig(model=str(models[family])))
    ids, text = said_by_transformers(engine, chat(QUESTIONS[0]), 10)
    assert engine.prompts.make(chat(QUESTIONS[0])).ids.tolist() == ids
    assert ask(engine, [chat(QUESTIONS[0])])[0].text == text


@pytest.mark.parametrize("family", CUTTABLE)
def test_cached_and_uncached_answers_are_identical(models: dict[str, Path], family: str) -> None:
    cached = Engine(ModelConfig(model=str(models[family])))
    from_nothing = Engine(ModelConfig(model=str(models[family]), scene_cache_gb=0, image_cache_gb=0))
    talks = [chat(q) for q in QUESTIONS[:2]] + [
        chat(QUESTIONS[0], ("a", "c", "bev2")),  # a picture in the middle changed
        chat(QUESTIONS[0]),  # and back
        chat(QUESTIONS[1], ("a", "b", "c", "bev")),
    ]
    warm = [ask(cached, [talk])[0] for talk in talks]
    cold = [ask(from_nothing, [talk])[0] for talk in talks]
    assert [r.text for r in warm] == [r.text for r in cold]
    assert [r.confidence for r in warm] == pytest.approx([r.confidence for r in cold], rel=1e-4)
    assert all(r.reused_tokens == 0 for r in cold) and all(r.reused_tokens > 0 for r in warm[1:])
    assert len({r.text for r in warm}) > 2  # else this would prove little


@pytest.mark.parametrize("family", CUTTABLE)
def test_questions_at_once_get_the_answers_they_get_alone(models: dict[str, Path], family: str) -> None:
    engine = Engine(ModelConfig(model=str(models[family])))
    talks = [chat(q) for q in QUESTIONS]
    together = ask(engine, talks)
    engine.forget()
    alone = [ask(engine, [talk])[0] for talk in talks]
    assert [r.text for r in together] == [r.text for r in alone]
    assert [r.confidence for r in together] == pytest.approx([r.confidence for r in alone], rel=1e-4)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_positions_that_are_remembered_are_those_of_the_model(models: dict[str, Path], family: str) -> None:
    engine = Engine(ModelConfig(model=str(models[family])))
    for said in (chat(QUESTIONS[0]), chat(QUESTIONS[1]), chat(QUESTIONS[0], ("a", "c", "bev")), chat("x", ("a", "b"))):
        prompt = engine.prompts.make(said)
        assert torch.equal(engine.family.positions(prompt), engine.family._rope_positions(prompt))


def test_bfloat16_logits_of_cached_and_uncached_are_close(models: dict[str, Path]) -> None:
    cached = Engine(ModelConfig(model=str(models["qwen2_5_vl"]), dtype="bfloat16"))
    cold = Engine(ModelConfig(model=str(models["qwen2_5_vl"]), dtype="bfloat16", scene_cache_gb=0))
    ask(cached, [chat(QUESTIONS[0])])
    for question in QUESTIONS[1:]:
        warm_reply, cold_reply = (ask(e, [chat(question)], 1)[0] for e in (cached, cold))
        assert math.log(warm_reply.confidence) == pytest.approx(math.log(cold_reply.confidence), abs=0.1)


def test_a_question_costs_only_the_question(qwen: Engine) -> None:
    first, second = (ask(qwen, [chat(q)])[0] for q in QUESTIONS[:2])
    assert first.reused_tokens == 0
    question_tokens = qwen.count_tokens(QUESTIONS[1])
    assert second.prompt_tokens - second.reused_tokens <= question_tokens + 8  # and the template's end
    assert qwen.stats()["encoded"] == 3


def test_a_change_redoes_only_what_comes_after_it(qwen: Engine) -> None:
    before = qwen.prompts.make(chat("x", ("a", "b", "bev")))
    ask(qwen, [chat("x", ("a", "b", "bev"))])
    reply = ask(qwen, [chat("x", ("a", "b", "bev2"))])[0]
    assert reply.reused_tokens == common_prefix(before.keys, qwen.prompts.make(chat("x", ("a", "b", "bev2"))).keys)
    assert before.image[reply.reused_tokens] == 2  # the first token of the last picture
    assert qwen.stats()["encoded"] == 4


def test_warm_reads_the_scene_and_nothing_of_the_question(qwen: Engine) -> None:
    qwen.warm(chat(""), lambda: False)
    stats = qwen.stats()
    assert stats["encoded"] == 3 and stats["replies"] == 0
    reply = ask(qwen, [chat(QUESTIONS[0])])[0]
    assert reply.reused_tokens == stats["tokens_cached"]
    assert reply.prompt_tokens - reply.reused_tokens <= qwen.count_tokens(QUESTIONS[0]) + 8
    assert qwen.stats()["encoded"] == 3


def test_warm_stops_when_cancelled(qwen: Engine) -> None:
    looks = iter([False, False, True])
    qwen.warm(chat(""), lambda: next(looks, True))
    assert qwen.stats()["encoded"] < 3


def test_a_follow_up_goes_on_from_the_answer(qwen: Engine) -> None:
    first = chat(QUESTIONS[0])
    reply = ask(qwen, [first])[0]
    turns = (*first.turns, Turn("assistant", ("the table",)), Turn("user", ("And the lamp?",)))
    follow_up = Chat(first.system, turns, first.shared_parts)
    said = ask(qwen, [follow_up])[0]
    assert said.reused_tokens >= reply.prompt_tokens - 1
    qwen.forget()
    assert ask(qwen, [follow_up])[0].text == said.text


def test_two_scenes_are_remembered_side_by_side_and_the_oldest_goes_first(models: dict[str, Path]) -> None:
    engine = Engine(ModelConfig(model=str(models["qwen2_5_vl"]), cached_scenes=2))
    scenes = [chat("x", keys) for keys in (("a", "b"), ("a", "c"), ("a", "d"))]
    first, second, third = scenes
    ask(engine, [first])
    ask(engine, [second])
    assert ask(engine, [first])[0].reused_tokens > len(engine.prompts.make(first)) - 10  # both are there
    assert ask(engine, [second])[0].reused_tokens > len(engine.prompts.make(second)) - 10
    ask(engine, [third])
    assert engine.stats()["scenes_cached"] == 2 and engine.stats()["scenes_evicted"] == 1
    reused = ask(engine, [first])[0].reused_tokens
    assert reused == common_prefix(engine.prompts.make(first).keys, engine.prompts.make(third).keys)


def test_caches_keep_to_their_caps(models: dict[str, Path]) -> None:
    engine = Engine(ModelConfig(model=str(models["qwen2_5_vl"]), scene_cache_gb=0.0004, image_cache_gb=4e-6))
    for k in range(4):
        ask(engine, [chat("x", (f"{k}a", f"{k}b"))])
        stats = engine.stats()
        assert stats["scene_cache_bytes"] <= 400_000 and stats["image_cache_bytes"] <= 4000
    assert stats["scenes_cached"] >= 1 and stats["scenes_evicted"] >= 1


@pytest.mark.parametrize(("family", "kind"), [("gemma3", "SlidingWindow"), ("qwen3_5", "LinearAttention")])
def test_what_cannot_be_cut_is_read_from_nothing_and_says_so(
    models: dict[str, Path], caplog: pytest.LogCaptureFixture, family: str, kind: str
) -> None:
    engine = Engine(ModelConfig(model=str(models[family])))
    assert kind in caplog.text and kind in engine.stats()["uncached"]
    replies = [ask(engine, [chat(QUESTIONS[0])])[0] for _ in range(2)]
    assert replies[0].text == replies[1].text and replies[1].reused_tokens == 0
    together = ask(engine, [chat(q) for q in QUESTIONS[:2]])
    assert together[0].text == replies[0].text


def test_cancel_stops_between_tokens_and_gives_the_memory_back(qwen: Engine) -> None:
    qwen.warm(chat(""), lambda: False)
    before = qwen.stats()["scene_cache_bytes"]
    said: list[str] = []
    events = list(_collect(qwen, Asked(chat(QUESTIONS[0]), 3000, lambda: len(said) >= 5), said))
    reply = events[-1]
    assert isinstance(reply, ChatReply) and reply.stopped == "cancelled"
    assert 5 <= reply.new_tokens < 20
    assert qwen.stats()["scene_cache_bytes"] == before
    assert ask(qwen, [chat(QUESTIONS[0])])[0].reused_tokens > 0


def _collect(engine: Engine, asked: Asked, said: list[str]) -> Any:
    for _, event in engine.ask([asked]):
        if isinstance(event, str):
            said.append(event)
        yield event


def test_cancel_of_one_leaves_the_others_of_its_batch(qwen: Engine) -> None:
    alone = ask(qwen, [chat(QUESTIONS[1])])[0]
    looks = iter([False] * 6)
    asked = [Asked(chat(QUESTIONS[0]), 10, lambda: next(looks, True)), Asked(chat(QUESTIONS[1]), 10)]
    events = [e for e in qwen.ask(asked) if not isinstance(e[1], str)]
    replies = dict(events)
    assert len(events) == 2
    assert replies[0].stopped == "cancelled" and replies[0].new_tokens < 10  # type: ignore[union-attr]
    assert replies[1].text == alone.text  # type: ignore[union-attr]


def test_a_consumer_that_leaves_early_harms_nothing(qwen: Engine) -> None:
    expected = ask(qwen, [chat(QUESTIONS[0])])[0].text
    events = qwen.ask([Asked(chat(QUESTIONS[1]), 10)])
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert ask(qwen, [chat(QUESTIONS[0])])[0].text == expected


def test_text_grows_and_never_ends_in_half_a_character(qwen: Engine) -> None:
    said: list[str] = []
    events = list(_collect(qwen, Asked(chat(QUESTIONS[0]), 40), said))
    reply = events[-1]
    assert reply.stopped == "length" and reply.new_tokens == 40
    assert said and all(not s.endswith("\ufffd") for s in said)
    assert all(b.startswith(a) for a, b in itertools.pairwise(said))
    assert 0 < reply.confidence < 1


def test_generation_ends_at_the_stop_tokens_of_the_model(models: dict[str, Path], tmp_path: Path) -> None:
    engine = Engine(ModelConfig(model=str(models["qwen2_5_vl"])))
    _, text = said_by_transformers(engine, chat(QUESTIONS[0]), 10)
    stopping = shutil.copytree(models["qwen2_5_vl"], tmp_path / "stopping")
    settings = json.loads((stopping / "generation_config.json").read_text())
    fourth = _tokens(engine, chat(QUESTIONS[0]), 10)[3]
    settings["eos_token_id"] = [settings["eos_token_id"], fourth]
    (stopping / "generation_config.json").write_text(json.dumps(settings))
    reply = ask(Engine(ModelConfig(model=str(stopping))), [chat(QUESTIONS[0])], 10)[0]
    assert reply.stopped == "end"
    assert reply.new_tokens == _tokens(engine, chat(QUESTIONS[0]), 10).index(fourth)
    assert text.startswith(reply.text)


def _tokens(engine: Engine, said: Chat, count: int) -> list[int]:
    """Return the tokens of the reply."""
    chosen: list[int] = []
    original = engine._decoder._chosen

    def noting(member: Any, token: int, log_prob: float) -> Any:
        chosen.append(token)
        return original(member, token, log_prob)

    engine._decoder._chosen = noting  # type: ignore[method-assign]
    ask(engine, [said], count)
    engine._decoder._chosen = original  # type: ignore[method-assign]
    return chosen


def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(models: dict[str, Path]) -> None:
    engine = Engine(ModelConfig(model=str(models["qwen2_5_vl"]), max_context_tokens=60))
    events = list(engine.ask([Asked(chat("x"), 10), Asked(Chat("", (Turn("user", ("hi",)),)), 5)]))
    errors = {k: e for k, e in events if isinstance(e, ChatError)}
    assert errors[0].code == ErrorCode.BAD_QUESTION and "60" in str(errors[0])
    assert 1 not in errors  # the other is answered


def test_a_question_of_100_kb_is_refused_and_the_next_is_answered(qwen: Engine) -> None:
    events = list(qwen.ask([Asked(chat("chair " * 40_000), 5)]))
    assert isinstance(events[0][1], ChatError)
    assert ask(qwen, [chat("Where?")])[0].new_tokens > 0


def test_out_of_memory_drops_what_was_read_and_tries_once_more(qwen: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [r.text for r in ask(qwen, [chat(q) for q in QUESTIONS[:2]])]
    step, failures = qwen.family.step, iter([True])

    def failing(*args: Any, **kwargs: Any) -> torch.Tensor:
        if next(failures, False):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return step(*args, **kwargs)

    monkeypatch.setattr(qwen.family, "step", failing)
    assert [r.text for r in ask(qwen, [chat(q) for q in QUESTIONS[:2]])] == expected
    assert qwen.stats()["out_of_memory"] == 1

    failures = iter([True, True])
    events = list(qwen.ask([Asked(chat(QUESTIONS[0]), 5)]))
    error = events[-1][1]
    assert isinstance(error, ChatError) and error.code == ErrorCode.MODEL_FAILED and "out of memory" in str(error)
    assert ask(qwen, [chat(QUESTIONS[0])])[0].text == expected[0]


def test_other_faults_of_the_device_escape(qwen: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: Any, **kwargs: Any) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(qwen.family, "step", failing)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        list(qwen.ask([Asked(chat("x"), 5)]))


def test_more_questions_than_a_batch_holds_are_all_answered(models: dict[str, Path]) -> None:
    engine = Engine(ModelConfig(model=str(models["qwen2_5_vl"]), max_batch=3))
    talks = [chat(f"Is {k} on?") for k in range(7)] + [chat("Is 1 on?", ("z",))]
    together = [r.text for r in ask(engine, talks, 4)]
    assert together == [ask(engine, [t], 4)[0].text for t in talks]


def test_a_chat_without_pictures_and_without_system_text(models: dict[str, Path]) -> None:
    for family in FAMILIES:
        engine = Engine(ModelConfig(model=str(models[family])))
        assert ask(engine, [Chat("", (Turn("user", ("Where?",)),))], 3)[0].new_tokens > 0


@pytest.mark.parametrize("family", CUTTABLE)
def test_questions_join_a_running_batch_between_tokens(models: dict[str, Path], family: str) -> None:
    qwen = Engine(ModelConfig(model=str(models[family])))
    talks = [chat(q) for q in QUESTIONS] + [chat(QUESTIONS[0], ("other", "scene"))]
    alone = [ask(qwen, [t])[0].text for t in talks]
    later = iter([[], [Asked(talks[1], 10)], [], [Asked(t, 10) for t in talks[2:]]])
    order, replies = [], {}
    qwen.forget()
    for index, event in qwen.ask([Asked(talks[0], 10)], lambda: next(later, [])):
        order.append(index)
        if isinstance(event, ChatReply):
            replies[index] = event
    assert [replies[k].text for k in range(5)] == alone
    assert order.index(1) < len(order) - 1 - order[::-1].index(0)  # the second spoke before the first had ended
    assert all(replies[k].reused_tokens > 0 for k in range(1, 5)), "another scene shares what comes before its pictures"


def test_each_of_several_scenes_is_read_once_however_their_questions_come(
    qwen: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [k + " is a long story of this place" * 20 for k in "xyz"]
    talks = [chat(q, system=scene) for q in QUESTIONS for scene in scenes]
    alone = [ask(qwen, [t])[0].text for t in talks]
    whole = sum(qwen._member(0, Asked(chat(QUESTIONS[0], system=scene), 1)).shared for scene in scenes)
    step, sizes = qwen.family.step, []

    def counting(ids: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        sizes.append(ids.numel())
        return step(ids, *args, **kwargs)

    monkeypatch.setattr(qwen.family, "step", counting)
    for first in (len(talks), 2):  # all at once, and most while the first are answered
        qwen.forget()
        sizes.clear()
        later = iter([[Asked(t, 10) for t in talks[first:]]])
        events = qwen.ask([Asked(t, 10) for t in talks[:first]], lambda later=later: next(later, []))
        said = {k: e.text for k, e in events if isinstance(e, ChatReply)}
        assert [said[k] for k in range(len(talks))] == alone
        assert sum(sizes) < 1.6 * whole, first


def test_who_has_much_of_its_own_waits_for_the_next_batch_and_is_not_overtaken(qwen: Engine) -> None:
    asked = [Asked(chat(QUESTIONS[0]), 20), Asked(chat("chair " * 2500), 5), Asked(chat(QUESTIONS[1]), 5)]
    alone = [ask(qwen, [a.chat], a.max_new_tokens)[0].text for a in asked]
    later = iter([asked[1:2], asked[2:]])
    events = list(qwen.ask(asked[:1], lambda: next(later, [])))
    ended = {k: e.text for k, e in events if isinstance(e, ChatReply)}
    assert [ended[k] for k in range(3)] == alone
    assert next(iter(ended)) == 0, "the last is short, but did not go before the second"


def test_who_waits_is_told_at_once_that_it_was_cancelled_or_refused(models: dict[str, Path]) -> None:
    engine = Engine(ModelConfig(model=str(models["qwen2_5_vl"]), max_context_tokens=4000))
    later = iter([[Asked(chat("chair " * 2500), 5, lambda: True), Asked(chat("chair " * 5000), 5)]])
    events = list(engine.ask([Asked(chat(QUESTIONS[0]), 10)], lambda: next(later, [])))
    ended = [k for k, e in events if not isinstance(e, str)]
    assert sorted(ended) == [0, 1, 2] and ended[-1] == 0


def test_a_long_question_is_read_in_pieces_while_others_are_answered(
    qwen: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    talks = [chat(QUESTIONS[0]), chat("chair " * 700 + "?"), chat(QUESTIONS[1])]
    alone = [ask(qwen, [t])[0] for t in talks]
    monkeypatch.setattr("s3d_ros.vlm.decoding._CHUNK_TOKENS", (64, 64))
    qwen._decoder._chunk = 64
    step, sizes = qwen.family.step, []

    def counting(ids: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        sizes.append(len(ids))
        return step(ids, *args, **kwargs)

    monkeypatch.setattr(qwen.family, "step", counting)
    later = iter([[], [Asked(t, 10) for t in talks[1:]]])
    events = list(qwen.ask([Asked(talks[0], 10)], lambda: next(later, [])))
    replies = {k: e for k, e in events if isinstance(e, ChatReply)}
    assert list(replies) == [0, 2, 1]
    assert [replies[k].text for k in range(3)] == [r.text for r in alone]
    assert [replies[k].confidence for k in range(3)] == pytest.approx([r.confidence for r in alone], rel=1e-4)
    assert max(sizes) <= 64 + 3 and len(sizes) > 700 / 64


def test_cancel_is_heard_while_a_question_of_its_own_is_read(qwen: Engine) -> None:
    talk = Chat("", (Turn("user", ("chair " * 3000, picture("a"), picture("b"), "?")),))
    looks = iter([False] * 4)
    events = list(qwen.ask([Asked(talk, 10, lambda: next(looks, True))]))
    assert len(events) == 1 and events[0][1].stopped == "cancelled"  # type: ignore[union-attr]
    assert qwen.stats()["encoded"] == 0
    looks = iter([False] * 3)
    two = Chat("", (Turn("user", (picture("a"), picture("b"), "?")),))
    events = list(qwen.ask([Asked(two, 10, lambda: next(looks, True))]))
    assert events[0][1].stopped == "cancelled" and qwen.stats()["encoded"] == 1  # type: ignore[union-attr]


def test_a_picture_that_cannot_be_read_fails_alone(qwen: Engine) -> None:
    strip = ChatImage("strip", np.zeros((2, 3000, 3), dtype=np.uint8))
    events = list(qwen.ask([Asked(Chat("", (Turn("user", (strip, "what?")),)), 5), Asked(chat("x"), 5)]))
    assert isinstance(dict(events)[0], ChatError)
    assert isinstance(dict(events)[1], ChatReply)


def test_pictures_of_different_sizes_and_in_the_question(qwen: Engine) -> None:
    first = chat("Where is", ("a", "b"))
    parts = (*first.turns[0].parts, picture("crop", 60, 56), "this?")
    talk = Chat(first.system, (Turn("user", parts),), first.shared_parts)
    together = ask(qwen, [first, talk, chat(QUESTIONS[1], ("a", "b"))])
    qwen.forget()
    assert [ask(qwen, [t])[0].text for t in (first, talk)] == [r.text for r in together[:2]]
