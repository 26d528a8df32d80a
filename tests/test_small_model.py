"""The small model: loads as any other does, reads its pictures' truth, and goes on exactly where it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from s3d_ros.chat import Chat, ChatImage, Turn
from s3d_ros.cli import app
from s3d_ros.markers import plate_size
from s3d_ros.offline.simulate.shapes import CATEGORIES
from s3d_ros.train.small.going_on import has_fast_bf16, prepare
from s3d_ros.train.small.homes import furnished
from s3d_ros.train.small.lookup import codes, mark_cells, turns_of, unmark_cells
from s3d_ros.train.small.model import (
    CELL_PX,
    PROMPT,
    ModelShape,
    SmallModelError,
    make_model,
    make_tokenizer,
    save_model,
)
from s3d_ros.train.small.pictures import FLOOR, NOTHING, PictureSettings, picture
from s3d_ros.train.small.reading import (
    Batch,
    ReadingHead,
    ReadingSettings,
    digits_of,
    guessing,
    pace,
    reading_loss,
    tokens_of,
    train_reading,
)
from s3d_ros.train.small.sprites import LABELS, SIZES_M, sprite
from s3d_ros.train.small.styles import FONTS, HELD_OUT_FONTS, PROJECT, Style, random_style
from s3d_ros.vlm.asking import Asked
from s3d_ros.vlm.config import ModelConfig
from s3d_ros.vlm.engine import Engine
from s3d_ros.vlm.processor import load_processor
from s3d_ros.vlm.tokens import _without_control_tokens

TINY = ModelShape(
    tower_widths=(32, 32, 64), tower_depths=(1, 1, 1), hidden=64, layers=2, heads=2, mlp=128, vocabulary=4200
)
SMALL = PictureSettings(px=128, side_m=3.2, objects=5)


@pytest.fixture(scope="module", params=["resnet", "segformer"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("small")
    tokenizer = make_tokenizer(TINY.vocabulary)
    save_model(make_model(replace(TINY, tower=request.param), tokenizer), tokenizer, directory)
    return directory


def test_an_object_is_one_token_for_the_engine_too_and_is_written_back() -> None:
    tokenizer = make_tokenizer(TINY.vocabulary)
    said = "Is <OBJ012> left of <OBJ210>?"
    ids = tokenizer(said, add_special_tokens=False)["input_ids"]
    plain = _without_control_tokens(tokenizer)  # how the engine reads what people typed
    assert plain.encode(said, add_special_tokens=False).ids == ids
    tokens = [t for t in tokenizer.convert_ids_to_tokens(ids) if "OBJ" in t]
    assert tokens == ["\u0120<OBJ012>", "\u0120<OBJ210>"]
    assert tokenizer.decode(ids) == said
    assert len(tokenizer) <= TINY.vocabulary


def test_a_vocabulary_without_room_for_the_alphabet_is_refused() -> None:
    with pytest.raises(SmallModelError, match=r"a vocabulary of 700 has no room .* at least 2[0-9]{3}"):
        make_tokenizer(700)


def test_an_unknown_tower_is_refused_by_name() -> None:
    with pytest.raises(SmallModelError, match="tower = 'vit' is none of segformer, resnet"):
        ModelShape(tower="vit")


def test_full_size_is_a_few_million() -> None:
    shape = ModelShape()
    model = make_model(shape, make_tokenizer(shape.vocabulary))
    assert 4e6 < sum(p.numel() for p in model.parameters()) < 10e6


def test_the_engine_runs_it_as_any_other_with_pictures_of_any_size(saved: Path) -> None:
    engine = Engine(ModelConfig(model=str(saved), device="cpu", scene_cache_gb=0.1, image_cache_gb=0.1))
    assert not engine.uncached
    rng = np.random.default_rng(0)
    images = [
        ChatImage(f"i{k}", rng.integers(0, 256, (*size, 3)).astype(np.uint8))
        for k, size in enumerate([(130, 200), (128, 96)])
    ]
    cells = 2 * (PROMPT.bev_px // CELL_PX) ** 2  # all are scaled to one size
    chat = Chat("Look.", (Turn("user", (*images, "What is <OBJ012>?")),), shared_parts=2)
    [once] = [reply for _, reply in engine.ask([Asked(chat, 6)]) if not isinstance(reply, str)]
    assert once.prompt_tokens > cells
    [again] = [reply for _, reply in engine.ask([Asked(chat, 6)]) if not isinstance(reply, str)]
    assert again.text == once.text
    assert again.reused_tokens >= cells  # the pictures were not read twice
    engine.forget()
    [anew] = [reply for _, reply in engine.ask([Asked(chat, 6)]) if not isinstance(reply, str)]
    assert anew.text == once.text and anew.reused_tokens == 0


def test_training_sees_what_the_image_processor_gives(saved: Path) -> None:
    p = picture(PictureSettings(), 0, 0)
    given = load_processor(saved, "fast_vlm").image_processor(p.pixels, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(given, Batch.of([p]).pixels)


def test_a_picture_is_the_same_each_time_and_others_differ() -> None:
    one, same, other = (picture(SMALL, 3, i) for i in (5, 5, 6))
    np.testing.assert_array_equal(one.pixels, same.pixels)
    np.testing.assert_array_equal(one.marks, same.marks)
    assert (one.pixels != other.pixels).any()


def test_the_project_style_draws_the_digits_that_the_truth_tells() -> None:
    style = Style(digits_px=14)
    checked = 0
    for i in range(12):
        p = picture(SMALL, 0, i, style=style)
        for n, label, row, column in p.marks:
            assert p.number[row, column] == n and p.label[row, column] == label
            near = p.pixels[
                max(row * CELL_PX - 8, 0) : row * CELL_PX + 24, max(column * CELL_PX - 8, 0) : column * CELL_PX + 24
            ]
            assert (near.max(axis=-1) < 60).mean() > 0.08  # its plate is dark
            assert (near.min(axis=-1) > 240).mean() > 0.02  # its digits are white
            checked += 1
        assert set(np.unique(p.number)) - {0} == set(p.marks[:, 0])
    assert checked > 20


def test_what_no_plate_covers_has_a_dot_that_tells_its_place() -> None:
    p = picture(SMALL, 0, 3)
    dots = p.pixels[::CELL_PX, ::CELL_PX].astype(float)
    middle = (np.arange(8) + 0.5) / 8 * 255
    right = (np.abs(dots[..., 0] - middle) <= 1) & (np.abs(dots[..., 1] - middle[:, None]) <= 1) & (dots[..., 2] == 0)
    assert right.mean() > 0.6


def test_a_part_is_what_it_is_of_the_whole() -> None:
    whole = picture(PictureSettings(), 0, 5)
    for k in range(5):
        part = whole.part(10, np.random.default_rng(k))
        r, c = part.corner
        np.testing.assert_array_equal(part.pixels, whole.pixels[r * 16 : r * 16 + 160, c * 16 : c * 16 + 160])
        np.testing.assert_array_equal(part.ground, whole.ground[r : r + 10, c : c + 10])
        assert len(part.marks)
        for n, _, row, column in part.marks:
            assert part.number[row, column] == n
        where = Batch.of([part]).where[0]
        assert where[0, 0].tolist() == [c, r] and where[9, 9].tolist() == [c + 9, r + 9]
        for number, spot in zip(part.marks[:, 0], part.spots, strict=True):
            told = Batch.of([part]).spot[0].numpy()[part.number == number, :2] + where.numpy()[part.number == number]
            np.testing.assert_allclose(told, np.broadcast_to(spot * 20 - 0.5, told.shape), atol=1e-4)


def test_what_a_cell_shows_is_where_the_things_are() -> None:
    seen = 0
    for i in range(6):
        p = picture(PictureSettings(objects=60), 0, i)
        for thing, spot, size in zip(p.things, p.spots, p.sizes, strict=True):
            u, v = (spot * p.ground.shape[::-1]).astype(int).clip(0, 19)
            if thing.label == "bed":  # large, and only small things lie on it
                assert size.max() * p.side_m > 1.2
                near = p.ground[max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2]
                seen += int((near == LABELS.index("bed")).sum())
        assert ((p.ground >= -1) & (p.ground <= NOTHING)).all() and (p.ground == FLOOR).any()
    assert seen >= 3


def test_rooms_hold_what_stands_in_them_and_no_two_solid_things_in_one_place() -> None:
    monitors = 0
    for i in range(30):
        room = furnished(np.random.default_rng(i), range(5))
        for thing in room.things:
            assert all(a < b for a, b in zip(thing.low, thing.high, strict=True))
            if thing.label == "monitor" and thing.low[2] > 0:
                under = [t for t in room.things if t.label == "table" and abs(t.high[2] - thing.low[2]) < 1e-6]
                assert under, "a monitor floats"
                monitors += 1
        large = [t for t in room.things if t.label in ("bed", "sofa", "refrigerator", "wardrobe")]
        for k, a in enumerate(large):
            for b in large[:k]:
                over = [min(a.high[j], b.high[j]) - max(a.low[j], b.low[j]) for j in (0, 1)]
                assert min(over) < 0.04, (a, b)  # they may touch
    assert monitors > 5


def test_held_out_styles_are_never_trained_on() -> None:
    rng = np.random.default_rng(0)
    trained = [random_style(rng) for _ in range(400)]
    unseen = [random_style(rng, held_out=True) for _ in range(20)]
    assert not set(FONTS) & set(HELD_OUT_FONTS)
    assert {s.font for s in trained} == {PROJECT, *FONTS}
    assert {s.font for s in unseen} == set(HELD_OUT_FONTS)
    assert not {s.plate for s in trained} & {s.plate for s in unseen}


def test_a_bed_from_above_has_its_headboard_at_the_back_and_fills_its_box() -> None:
    seen = sprite("bed", 0)
    assert seen.color.shape[0] / seen.color.shape[1] == pytest.approx(seen.size_m[1] / seen.size_m[0], rel=0.05)
    assert (seen.color[..., 3] > 0).mean() > 0.9
    assert set(LABELS) == set(SIZES_M) and set(LABELS) <= set(CATEGORIES)


def test_the_loss_knows_what_is_right() -> None:
    p = picture(SMALL, 0, 1)
    batch = Batch.of([p])
    number = batch.number

    def sure(x: torch.Tensor, n: int) -> torch.Tensor:
        return torch.nn.functional.one_hot(x.clamp(min=0), n).float() * 30

    read = {
        "plate": (number > 0).float() * 60 - 30,
        "where": sure(batch.where, p.cells),
        "digits": sure(digits_of(number), 10)
        / 5
        * (number > 0)[..., None, None],  # each vector held once, elsewhere none
        "ground": sure(batch.ground, NOTHING + 1),
        "spot": batch.spot,
        "place": batch.place,
        "turns": turns_of(batch.place[..., :2]),
    }
    least = reading_loss(read, batch)
    assert least < 0.06  # what a share of 0.98 for each digit costs
    wrong_tens = read["digits"].clone()
    wrong_tens[..., 1, :] = wrong_tens[..., 1, :].roll(1, dims=-1)
    assert reading_loss({**read, "digits": wrong_tens}, batch) > 5
    elsewhere = torch.where((number > 0)[..., None, None], read["digits"], read["digits"].amax() / 2)
    assert reading_loss({**read, "digits": elsewhere}, batch) > least + 1
    assert reading_loss({**read, "where": read["where"].flip(2)}, batch) > 10
    assert reading_loss({**read, "place": batch.place + 0.1}, batch) > least + 1  # a tenth of the picture away
    assert reading_loss({**read, "turns": turns_of(batch.place[..., :2] + 0.1)}, batch) > least + 0.5
    assert reading_loss({**read, "spot": batch.spot + 1}, batch) > 1
    assert reading_loss({**read, "ground": read["ground"].roll(1, dims=-1)}, batch) > 3


def test_a_few_pictures_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    tokenizer = make_tokenizer(TINY.vocabulary)
    model, head = make_model(TINY, tokenizer).train(), ReadingHead(TINY.hidden, 8)
    batch = Batch.of([picture(SMALL, 0, i) for i in range(2)])
    optimiser = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(150):
        loss = reading_loss(head(tokens_of(model, batch.pixels)), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    read = head(tokens_of(model, batch.pixels))
    marked = batch.number > 0
    said = read["digits"][marked].argmax(dim=-1)
    assert (said == digits_of(batch.number[marked])).all(dim=-1).float().mean() > 0.95


def test_the_pace_rises_and_falls_to_nothing() -> None:
    paces = [pace(k, 10, 100) for k in range(100)]
    assert paces[0] == pytest.approx(0.1) and max(paces) == pytest.approx(1.0) and paces[-1] < 0.01
    assert paces[9:] == sorted(paces[9:], reverse=True)


def test_a_run_goes_on_exactly_and_refuses_other_settings(tmp_path: Path) -> None:
    settings = ReadingSettings(
        batch=2, part=6, steps=3, every_steps=3, evaluated=3, shape=TINY, pictures=SMALL, warmup_steps=2, workers=0
    )
    whole = train_reading(settings, tmp_path / "whole")
    train_reading(replace(settings, minutes=1e-9), tmp_path / "parts")  # stops after a step
    parts = train_reading(settings, tmp_path / "parts")
    a, b = (torch.load(tmp_path / n / "reading.pt", weights_only=True) for n in ("whole", "parts"))
    assert all(torch.equal(a["model"][k], b["model"][k]) for k in a["model"])
    assert all(torch.equal(a["head"][k], b["head"][k]) for k in a["head"])
    assert whole["scores"] == parts["scores"]
    assert [json.loads(x)["step"] for x in (tmp_path / "parts" / "reading.jsonl").read_text().splitlines()] == [1, 3]
    with pytest.raises(SmallModelError, match=r"batch is 2, not 3.*another folder"):
        train_reading(replace(settings, batch=3), tmp_path / "parts")


def test_a_run_begins_with_the_encoder_of_a_model_that_was_exported(tmp_path: Path) -> None:
    """What the decoder's training adds to its cells is taken off again, and other shapes are refused."""
    tokenizer = make_tokenizer(TINY.vocabulary)
    model = make_model(TINY, tokenizer, seed=5)
    bare = {k: v.clone() for k, v in model.state_dict().items()}
    mark_cells(model.model.multi_modal_projector)
    with torch.no_grad():  # only what the words' flags span may differ
        projector = model.model.multi_modal_projector.linear_2
        unmark_cells(model.model.multi_modal_projector)
        left = projector.bias - bare["model.multi_modal_projector.linear_2.bias"]
        flags = torch.stack(list(codes(TINY.hidden).flags.values()))
        basis = torch.linalg.svd(flags, full_matrices=False).Vh
        assert (left - basis.T @ (basis @ left)).abs().max() < 1e-5
    save_model(model, tokenizer, tmp_path / "model")
    settings = ReadingSettings(
        batch=2, part=6, steps=1, learning_rate=0.0, weight_decay=0.0, evaluated=1, shape=TINY, pictures=SMALL,
        workers=0, begin=str(tmp_path / "model"),
    )  # fmt: skip
    train_reading(settings, tmp_path / "run")
    learnt = torch.load(tmp_path / "run" / "reading.pt", weights_only=True)["model"]
    convolutions = [k for k, v in bare.items() if "vision_tower" in k and v.ndim == 4]
    assert convolutions and all(torch.equal(learnt[k], bare[k]) for k in convolutions)
    with pytest.raises(SmallModelError, match=r"is of another shape: \S+ is there"):
        train_reading(replace(settings, shape=replace(TINY, mlp=96)), tmp_path / "other")
    with pytest.raises(SmallModelError, match="holds no model"):
        train_reading(replace(settings, begin=str(tmp_path)), tmp_path / "none")


def test_a_process_is_set_up_to_compute_fast() -> None:
    """Sharp attention's tiny shares count as nothing, and bfloat16 is used where the CPU multiplies it itself."""
    before, tiny = torch.get_num_threads(), torch.tensor(1e-20)
    try:
        prepare(1)
        assert (tiny * tiny).item() == 0.0 and torch.get_num_threads() == 1
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)
    assert (tiny * tiny).item() > 0.0
    can = torch.cpu.get_capabilities()
    assert ReadingSettings().bf16 == has_fast_bf16() == bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def test_guessing_is_the_most_frequent_answer() -> None:
    base = picture(SMALL, 0, 0)
    marks = np.array([[12, 0, 0, 0], [12, 3, 0, 1], [7, 3, 1, 1], [32, 3, 1, 2]], np.int32)
    said = guessing([replace(base, marks=marks)])
    assert said == {"number": 0.5, "units": 0.75, "tens": 0.5}


def test_plates_of_the_truth_are_those_that_are_drawn() -> None:
    """A plate covers its cells' middles, and the truth has no cell elsewhere."""
    p = picture(SMALL, 0, 2, style=Style(digits_px=14))
    assert len(p.marks)
    for n, _, row, column in p.marks:
        rows, columns = np.nonzero(p.number == n)
        w, h = plate_size(int(n), 14)
        assert np.ptp(columns) * CELL_PX <= w + CELL_PX and np.ptp(rows) * CELL_PX <= h + CELL_PX
        assert (row, column) in set(zip(rows, columns, strict=True))


def test_the_command_draws_a_sheet_and_says_where_it_can_not(tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["train-small", "show", "--out", str(tmp_path / "sheet.png"), "--count", "9"])
    assert done.exit_code == 0, done.output
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (640, 8 * 320, 3)
    done = runner.invoke(app, ["train-small", "show", "--out", str(tmp_path / "none" / "sheet.png")])
    assert done.exit_code == 2
