"""A model that comes with the package: found by its name, asked as it was trained, nothing is read twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from prompt_scene import room
from transformers import AutoModelForImageTextToText, AutoTokenizer
from typer.testing import CliRunner

from s3d_ros.answer.settings import AnswererConfig
from s3d_ros.chat import Chat, ChatImage, Turn
from s3d_ros.cli import app
from s3d_ros.keys import ConfigError
from s3d_ros.offline import demo_model
from s3d_ros.prompt.build import Prompter
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.numbers import Numbering
from s3d_ros.prompt.overview import legend
from s3d_ros.train.small.lessons import Teacher
from s3d_ros.train.small.model import PROMPT, ModelShape, make_model, make_tokenizer, save_model
from s3d_ros.train.small.pictures import PictureSettings, picture
from s3d_ros.train.small.prompting import Prompts
from s3d_ros.train.small.pupil import Pupil, score
from s3d_ros.train.small.questions import Asker
from s3d_ros.train.small.styles import Style
from s3d_ros.types import ErrorCode
from s3d_ros.vlm.asking import Asked
from s3d_ros.vlm.config import ModelConfig, ModelError, local_directory
from s3d_ros.vlm.engine import Engine
from s3d_ros.vlm.weights import check_weights, find_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shipped models with the small one in it: of its real size, untrained, exported as it is shipped."""
    run, out = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("models")
    tokenizer = make_tokenizer(ModelShape().vocabulary)
    save_model(make_model(ModelShape(), tokenizer), tokenizer, run / "model")
    done = CliRunner().invoke(app, ["train-small", "export", str(run), "--out", str(out / "small")])
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture
def shipped(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("s3d_ros.vlm.config.SHIPPED", models)
    return models


def test_it_is_found_by_name_whole_and_small(shipped: Path) -> None:
    directory = find_model("small", local_only=True)
    assert directory == shipped / "small" == local_directory("small")
    [weights] = check_weights(directory)
    assert weights.suffix == ".safetensors" and weights.stat().st_size < 15e6  # in half precision
    assert not [f for f in directory.iterdir() if f.suffix in (".bin", ".pt", ".py")]
    assert local_directory("") is None and local_directory("no_such_model") is None
    with pytest.raises(ModelError, match="no such directory: no_such_model"):
        find_model("no_such_model", local_only=True)


def test_a_directory_of_that_name_goes_first(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small").mkdir()
    monkeypatch.chdir(tmp_path)
    assert local_directory("small") == Path("small")


def test_it_is_asked_as_it_was_trained(shipped: Path) -> None:
    config = AnswererConfig.from_flat({"model": "small"})
    assert config.prompt == PROMPT != PromptConfig()
    assert AnswererConfig.from_flat({"model": "small", "prompt.bev_markers": 9}).prompt.bev_markers == 9
    held = json.loads((shipped / "small" / "prompt.json").read_text())
    assert PromptConfig.from_dict(held) == PROMPT
    with pytest.raises(ConfigError, match="bev_dots"):
        PromptConfig.from_dict({**held, "bev_dots_px": -1})


def test_a_cached_question_is_answered_as_an_uncached_one(shipped: Path) -> None:
    engine = Engine(ModelConfig(model="small", device="cpu", scene_cache_gb=0.2, image_cache_gb=0.2))
    assert not engine.uncached
    one = picture(PictureSettings(), 77, 0, style=Style(colored=True))
    by_id = {o.id: o for o in one.things}
    same = {k: k for k in by_id}
    shared = (f"Bird's-eye view of the whole scene, {one.side_m:g} m wide:", ChatImage("p", one.pixels))
    prompter = Prompter(PROMPT)

    def said(text: str) -> tuple[str, int]:
        chat = Chat(prompter.system, (Turn("user", (*shared, text)),), shared_parts=2)
        [reply] = [r for _, r in engine.ask([Asked(chat, 12)]) if not isinstance(r, str)]
        return reply.text, reply.reused_tokens

    asker = Asker(one.things, one.others, np.random.default_rng(0), by_category=0.0)
    for question in asker.draw(2, ["distance", "left_right"]):
        _, text = prompter.text(question.text, by_id, Numbering(same, same, {}), question.options)
        engine.forget()
        first, known = said(text)
        again, reused = said(text)
        assert known == 0 and reused >= 400  # the picture's cells
        assert again == first
        engine.forget()
        assert said(text) == (first, 0)


def test_the_demo_asks_both_about_three_large_things(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_model, "MODEL", str(models / "small"))
    question = demo_model.question_for_both(room())
    assert question is not None and question.text.startswith("Standing at the ")
    both = demo_model.beside(room())
    assert both is not None and both.question == question
    assert both.map.success and both.map.text.startswith(("left", "right")), both.map
    assert both.model.answered_by == "transformers" and both.model_s > 0
    assert both.model.error in (ErrorCode.NONE, ErrorCode.NOT_SETTLED), both.model  # untrained, it may say anything


def test_the_demo_does_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3d_ros.vlm.config.SHIPPED", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert demo_model.beside(room()) is None
    monkeypatch.setattr(demo_model, "_NEEDED", ("no_such_library",))
    assert demo_model.beside(room()) is None


def test_what_is_shipped_reads_and_answers() -> None:
    """The weights in the package, through the engine, on pictures that nobody trained on; its card has the figures."""
    engine = Engine(ModelConfig(model="small", device="cpu", scene_cache_gb=0.2, image_cache_gb=0.2))
    prompter = Prompter(PROMPT)
    right: dict[str, list[bool]] = {"category": [], "id": [], "map_side": [], "left_right": []}
    for k in range(4):
        one = picture(PictureSettings(), 1_000_009, k, held_out_looks=True, style=Style(colored=True))
        by_id = {o.id: o for o in one.things}
        same = {i: i for i in by_id}
        numbering = Numbering(same, same, {})
        caption = f"Bird's-eye view of the whole scene, {one.side_m:g} m wide:"
        shared = (caption, ChatImage(f"p{k}", one.pixels), legend(one.things, numbering))
        asked = Asker(one.things, one.others, np.random.default_rng(k)).draw(24, list(right))
        texts = [prompter.text(q.text, by_id, numbering, q.options) for q in asked]
        chats = [Chat(prompter.system, (Turn("user", (*shared, text)),), shared_parts=3) for _, text in texts]
        for question, (kind, _), chat in zip(asked, texts, chats, strict=True):
            [reply] = [r for _, r in engine.ask([Asked(chat, 12)]) if not isinstance(r, str)]
            right[question.kind].append(reply.text.strip(" .") == question.reply(kind.task).strip(" ."))
    share = {kind: np.mean(found) for kind, found in right.items()}
    assert share["category"] > 0.9 and share["id"] > 0.8, share
    assert share["map_side"] > 0.6 and share["left_right"] > 0.6, share  # guessing gets half


def test_the_weights_that_are_shipped_fit_what_is_drawn_and_asked_today() -> None:
    """Whoever changes pictures, tokens or wordings of prompts must train again, or keep the old ones for it."""
    directory = local_directory("small")
    assert directory is not None
    assert PromptConfig.from_dict(json.loads((directory / "prompt.json").read_text())) == PROMPT
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model = AutoModelForImageTextToText.from_pretrained(directory, local_files_only=True, dtype=torch.float32)
    prompts = Prompts(tokenizer, PROMPT.bev_px)
    lessons = Teacher(prompts, PictureSettings(), 40).held_out(8)["other homes"]
    scores = score(Pupil(model, tokenizer, prompts, bf16=False), lessons)
    assert scores["category"] >= 0.9 and scores["id"] >= 0.9 and scores["map_side"] >= 0.8, scores
    assert scores["left_right"] >= 0.7 and scores["distance"] >= 0.35, scores  # guessing gets 0.5 and 0.2
