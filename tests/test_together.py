"""Several questions about the same pictures in one sample, and pictures without the bird's-eye view."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import QWEN, make_qwen, run_config
from training_sets import write_run, write_set

from s3d_ros.chat import Chat, ChatImage, Turn
from s3d_ros.train.batch import IGNORED, Seen
from s3d_ros.train.config import ModelPart, TrainError
from s3d_ros.train.data import Samples, without_bev
from s3d_ros.train.loop import train
from s3d_ros.train.model import Trainee, load
from s3d_ros.train.parts.masking import without_views
from s3d_ros.train.sharegpt import chat_parts, share_gpt
from s3d_ros.train.small.model import ModelShape, make_model, make_tokenizer, save_model
from s3d_ros.train.together import attention_mask, grouped
from s3d_ros.vlm.attention import GROUPED

torch.set_num_threads(1)
SMALL = "resnet"
TINY = ModelShape(tower_widths=(32, 32, 32), tower_depths=(1, 1, 1), hidden=64, layers=2, heads=2, mlp=64)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("together")
    make_qwen(root)
    tokenizer = make_tokenizer(TINY.vocabulary)
    for tower in (SMALL, "segformer"):
        save_model(make_model(replace(TINY, tower=tower), tokenizer), tokenizer, root / tower)
    write_set(root / "set", write_run(root / "run"))
    return root


def samples(root: Path, family: str, **keys: Any) -> tuple[Samples, Any]:
    made = run_config(root, root / "none", {"model": {"name": str(root / family)}, "data": keys})
    loaded = load(made.model, "float32", "cpu", lambda stage, done: None)
    return Samples(made.data, "train", loaded.family, 0), loaded


def same_pictures(held: Samples) -> list[int]:
    """The records that show what the first one shows."""
    return [i for i in held.indices if held.records[i].images == held.records[0].images]


@pytest.mark.parametrize("family", [QWEN, SMALL])
def test_questions_that_are_learnt_together_have_the_losses_that_each_has_alone(root: Path, family: str) -> None:
    held, loaded = samples(root, family, shuffle_frames=False)
    trainee = Trainee(loaded.model, loaded.family)
    several = tuple(same_pictures(held))
    assert len(several) > 3
    with torch.no_grad():
        alone = sum(float(trainee(held.batch([i], 0))[0]) for i in several)
        batch = held.batch([several], 0)
        assert batch.segments is not None and int(batch.segments.max()) == len(several)
        assert float(trainee(batch)[0]) == pytest.approx(alone, rel=1e-5)
        filled = held.batch([several, several[:2]], 0)  # the second is filled up
        two = sum(float(trainee(held.batch([i], 0))[0]) for i in several[:2])
        assert float(trainee(filled)[0]) == pytest.approx(alone + two, rel=1e-5)
    assert batch.answer_tokens == sum(held.batch([i], 0).answer_tokens for i in several)


def test_a_question_looks_at_what_all_share_and_at_itself(root: Path) -> None:
    held, _ = samples(root, QWEN)
    batch = held.batch([tuple(same_pictures(held)[:3])], 0)
    mask, rows = attention_mask(batch), batch.segments
    assert mask is not None and rows is not None
    n = rows.shape[1]
    for i in (0, n // 2, n - 1):
        for j in range(n):
            may = j <= i and (rows[0, j] in (0, rows[0, i]))
            assert bool(mask[0, 0, i, j]) == may
    learnt = batch.labels[0] != IGNORED
    assert (rows[0][learnt] > 0).all() and (rows[0][torch.roll(learnt, -1)] > 0).all()


def test_hiding_a_view_keeps_the_questions_apart(root: Path) -> None:
    held, loaded = samples(root, QWEN, shuffle_frames=False)
    trainee = Trainee(loaded.model, loaded.family)
    several, token = tuple(same_pictures(held)[:3]), torch.ones(64)

    def loss(unit: Any) -> float:
        batch = held.batch([unit], 0)
        sample = held.sample(unit)
        pictures = tuple(Seen(0, i.key, n, {}) for i, n in zip(sample.images, sample.counts, strict=True))
        features = loaded.family.encoded(batch.pixels)
        changed, given = without_views(replace(batch, pictures=pictures), features, {0}, token)
        trainee.family.encoded = lambda pixels: given  # type: ignore[method-assign]
        try:
            return float(trainee(changed)[0])
        finally:
            del trainee.family.encoded

    with torch.no_grad():
        assert loss(several) == pytest.approx(sum(loss(i) for i in several), rel=1e-5)


def test_an_epoch_holds_every_record_once_in_groups_that_show_the_same(root: Path) -> None:
    held, _ = samples(root, QWEN, together=2)
    for epoch in (0, 1):
        units = [unit for batch in held.batches(epoch, 2) for unit in batch]
        assert sorted(i for unit in units for i in unit) == held.indices  # type: ignore[union-attr]
        for unit in units:
            assert len({held.records[i].images for i in unit}) == 1 and len(unit) <= 2  # type: ignore[union-attr]
    assert len(held.batches(0, 2)) == len(held.batches(1, 2))


def test_groups_are_full_before_a_new_one_begins() -> None:
    assert grouped([3, 1, 2, 5, 4], {1: "a", 2: "b", 3: "a", 4: "a", 5: "b"}, 2) == [(3, 1), (4,), (2, 5)]


def test_ground_heads_learn_one_question_at_a_time(root: Path) -> None:
    with pytest.raises(TrainError, match=r"data\.together = 4"):
        train(run_config(root, root / "out", {"data": {"together": 4}, "ground": {"head": True}}))


def test_without_the_view_from_above_its_caption_and_legend_go_too() -> None:
    frame, bev = (ChatImage(name, np.zeros((2, 2, 3), np.uint8)) for name in ("a.view0001.jpg", "a.bev.png"))
    text = "Marked: <OBJ001> chair.\nWhat is it?\nMarked: no."
    chat = Chat("", (Turn("user", ("Frame 1, 0.0 s:", frame, "Bird's-eye view:", bev, text)),))
    assert without_bev(chat).turns[0].parts == ("Frame 1, 0.0 s:", frame, "What is it?\nMarked: no.")
    listed = "Marked:\nchair=<OBJ001>\ntrash-can=<OBJ002>\nWhat is it?"
    lines = Chat("", (Turn("user", (frame, "From above:", bev, listed)),))
    assert without_bev(lines).turns[0].parts == (frame, "What is it?")
    bare = Chat("", (Turn("user", (frame, bev, "What is it?")),))
    assert without_bev(bare).turns[0].parts == (frame, "What is it?")


def test_a_set_is_learnt_and_asked_without_the_view_from_above(root: Path) -> None:
    held, _ = samples(root, QWEN, bev=False)
    assert all(".bev" not in image.key for image in held.sample(0).images)
    assert [i.key for i in held.chat(0)[0].images] == [i.key for i in held.sample(0).images]


def test_texts_side_by_side_are_one_as_templates_write_them() -> None:
    image = ChatImage("k", np.zeros((2, 2, 3), np.uint8))
    record = share_gpt(Chat("", (Turn("user", (image, "Marked: x.\n", "What?")),)), "A", lambda i: i.key)
    assert record["conversations"][0]["value"] == "<image>\nMarked: x.\nWhat?"
    assert chat_parts(record["conversations"][0]["value"], iter([image])) == (image, "Marked: x.\nWhat?")


def test_what_keeps_running_means_stays_as_it_is_while_others_learn(root: Path) -> None:
    _, loaded = samples(root, QWEN)
    loaded.model.model.norm = torch.nn.BatchNorm1d(3)
    trainee = Trainee(loaded.model, loaded.family).train()
    assert trainee.training and loaded.model.training and not loaded.model.model.norm.training
    assert trainee.eval().training is False


@pytest.mark.parametrize("tower", ["resnet", "segformer"])
def test_words_attend_by_sdpa_beside_an_encoder_that_knows_none(root: Path, tower: str) -> None:
    loaded = load(ModelPart(name=str(root / tower), local_only=True), "float32", "cpu", lambda stage, done: None)
    assert loaded.model.config.get_text_config()._attn_implementation == GROUPED
