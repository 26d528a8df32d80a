"""The small model's decoder before it learnt anything: what is named is found, and its place handed on."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from s3d_ros.train.small.decoding import read_questions
from s3d_ros.train.small.lessons import Lesson, Teacher
from s3d_ros.train.small.lookup import (
    PLACE_SCALE,
    TURN_SCALE,
    codes,
    mark_cells,
    seen_digits,
    seen_places,
    seen_turns,
    turns_of,
)
from s3d_ros.train.small.model import ModelShape, make_model, make_tokenizer
from s3d_ros.train.small.pictures import PictureSettings
from s3d_ros.train.small.prompting import Asked, Prompts, padded
from s3d_ros.train.small.pupil import Pupil
from s3d_ros.train.small.reading import digits_of

HIDDEN = ModelShape().hidden


@pytest.fixture(scope="module")
def taught() -> tuple[Pupil, list[tuple[Lesson, torch.Tensor]]]:
    """An untrained model, and lessons with tokens as a good encoder's: digits, places, and much else."""
    tokenizer = make_tokenizer(ModelShape().vocabulary)
    prompts = Prompts(tokenizer)
    pupil = Pupil(make_model(ModelShape(), tokenizer), tokenizer, prompts, bf16=False).eval()
    lessons = [Teacher(prompts, PictureSettings(), 24, drawn=False).lesson(5, i) for i in range(8)]
    return pupil, [(lesson, cells(lesson)) for lesson in lessons]


def cells(lesson: Lesson) -> torch.Tensor:
    picture, digits, places = lesson.picture, seen_digits(HIDDEN), seen_places(HIDDEN)
    tokens = torch.randn(picture.number.size, HIDDEN, generator=torch.Generator().manual_seed(0))
    flags = torch.stack(list(codes(HIDDEN).flags.values()))
    for vectors in (digits.flatten(0, 1), flags):
        basis = torch.linalg.svd(vectors, full_matrices=False).Vh
        tokens -= tokens @ basis.T @ basis
    tokens += 8 * codes(HIDDEN).flags["seen"]
    row = {thing.id: k for k, thing in enumerate(picture.things)}
    for at, number in enumerate(picture.number.flatten().tolist()):
        if number in row:
            told = digits_of(np.array(number))
            place = torch.from_numpy(np.concatenate([picture.spots, picture.sizes], axis=1)[row[number]]).float()
            tokens[at] += sum(digits[k, d] for k, d in enumerate(told))
            tokens[at] += PLACE_SCALE * (place - 0.5) @ places
            tokens[at] += TURN_SCALE * turns_of(place[:2]) @ seen_turns(HIDDEN)
    return tokens


def after(
    layers: int, taught: tuple[Pupil, list[tuple[Lesson, torch.Tensor]]]
) -> Iterator[tuple[Lesson, Asked, torch.Tensor]]:
    """Yield each question with what its tokens hold after so many layers, of length sqrt(width)."""
    pupil, lessons = taught
    decoder, every = pupil.decoder, pupil.decoder.layers
    decoder.layers = every[:layers]
    try:
        with torch.no_grad():
            for lesson, tokens in lessons:
                kept, start, _ = pupil.read(lesson.picture, tokens)
                asked = lesson.asked
                rows = padded([a.ids for a in asked], pupil.prompts.stop_id)
                held = read_questions(decoder, kept, decoder.embed_tokens(rows), start)
                yield from ((lesson, one, x) for one, x in zip(asked, held, strict=True))
    finally:
        decoder.layers = every


def correlation(pairs: list[tuple[torch.Tensor, np.ndarray]]) -> float:
    """Of what is held with what is true, the weaker axis."""
    assert len(pairs) > 20
    held, true = (np.array([np.asarray(p[k]) for p in pairs]) for k in (0, 1))
    return min(float(np.corrcoef(held[:, k], true[:, k])[0, 1]) for k in (0, 1))


def named(asked: Asked) -> list[tuple[int, int]]:
    return sorted(p for p in asked.points if p[0] < asked.answer - 1)


def test_a_number_finds_where_its_plate_stands(taught) -> None:
    own = codes(HIDDEN).places[0, :2]
    pairs = [(own @ held[at], lesson.picture.spots[k]) for lesson, asked, held in after(1, taught)
             if not asked.question.named for at, k in named(asked)]  # fmt: skip
    assert correlation(pairs) > 0.7  # a plate on the grid covers one cell or two, among 400 with much else


def test_a_category_finds_its_number_in_the_legend_and_so_its_place(taught) -> None:
    own = codes(HIDDEN).places[0, :2]
    called = [(lesson, asked, held) for lesson, asked, held in after(3, taught) if asked.question.about]
    pairs = [(own @ held[at], lesson.picture.spots[k]) for lesson, asked, held in called for at, k in named(asked)]
    assert correlation(pairs) > 0.4  # words of two parts, and plurals, are not all found


def test_the_end_of_a_question_holds_where_the_last_two_are(taught) -> None:
    places = codes(HIDDEN).places[:, :2]
    last, before = [], []
    for lesson, asked, held in after(5, taught):
        if len(points := named(asked)) >= 2:
            last.append((places[0] @ held[asked.answer - 1], lesson.picture.spots[points[-1][1]]))
            before.append((places[1] @ held[asked.answer - 1], lesson.picture.spots[points[-2][1]]))
    assert correlation(last) > 0.4 and correlation(before) > 0.25


def test_the_end_of_a_question_holds_the_last_place_as_turns(taught) -> None:
    turns, alike = codes(HIDDEN).turns, []
    for lesson, asked, held in after(5, taught):
        if points := named(asked):
            true = turns_of(torch.from_numpy(lesson.picture.spots[points[-1][1]]).float())
            alike.append(float(torch.cosine_similarity(turns @ held[asked.answer - 1], true, dim=0)))
    assert np.mean(alike) > 0.6


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 1))
def test_turns_are_more_alike_the_nearer_they_are(start: float, near: float, far: float, other: float) -> None:
    near, far = sorted((near, far))
    own, one, two = (
        turns_of(torch.tensor([u, other], dtype=torch.float64)) for u in (start, start + near, start + far)
    )
    assert own @ one >= own @ two - 1e-9
    assert float(own @ own) == pytest.approx(4)


def test_cells_hold_nothing_that_words_alone_hold() -> None:
    projector = torch.nn.Module()
    projector.linear_2 = torch.nn.Linear(HIDDEN, HIDDEN)
    mark_cells(projector)
    tokens = projector.linear_2(torch.randn(50, HIDDEN))
    flags = codes(HIDDEN).flags
    for name, flag in flags.items():
        torch.testing.assert_close(tokens @ flag, torch.full((50,), 8.0 if name == "seen" else 0.0), atol=1e-3, rtol=0)
