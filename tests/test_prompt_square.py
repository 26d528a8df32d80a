"""The bird's-eye view at a scale that does not change: a square of known width, numbers beside small things, dots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from prompt_scene import floor, room

from s3d_ros.chat import ChatImage
from s3d_ros.markers import draw, place_on_bev, plate_size
from s3d_ros.prompt.build import Prompter
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.numbers import Numbering, Numbers
from s3d_ros.prompt.overview import Overview, dotted, draw_overview, squared, whole
from s3d_ros.types import OrientedBox, Question, SceneObject


@pytest.mark.parametrize(
    ("size_m", "side_m"), [((3.0, 2.0), 8.0), ((8.0, 8.0), 8.0), ((8.1, 3.0), 12.0), ((1, 17), 18.0)]
)
def test_the_square_is_the_smallest_that_holds_all_and_things_stay_in_place(
    size_m: tuple[float, float], side_m: float
) -> None:
    bev = floor(*size_m)
    wide = squared(bev, 8.0)
    assert wide.color.shape[:2] == (round(side_m / 0.02),) * 2
    assert (wide.color > 0).sum() == (bev.color > 0).sum()
    for point in ([0.5, 0.5, 0.0], [size_m[0] - 0.3, size_m[1] - 0.1, 1.0]):
        u, v = np.round(wide.to_pixels(np.array([point]))[0]).astype(int)
        assert (wide.color[v, u] > 0).all()
    if max(size_m) >= side_m:
        return
    u, v = np.round(wide.to_pixels(np.array([[-0.2, -0.2, 0.0]]))[0]).astype(int)
    assert (wide.color[v, u] == 0).all()


def test_the_caption_tells_how_wide_it_is_and_all_rooms_have_one_scale() -> None:
    config = PromptConfig(bev_px=320, bev_square_m=8.0, frames=0)
    prompt = Prompter(config).build(Question("What is object 1?"), room())
    caption, image = prompt.chat.turns[0].parts[:2]
    assert caption == "Bird's-eye view of the whole scene, 8 m wide:"
    assert isinstance(image, ChatImage) and image.pixels.shape == (320, 320, 3)
    as_before = Prompter(PromptConfig(bev_px=320, frames=0)).build(Question("What is object 1?"), room())
    assert as_before.chat.turns[0].parts[0] == "Bird's-eye view of the whole scene:"


def test_a_number_stands_beside_what_it_would_hide_and_on_what_is_large() -> None:
    bev = floor(8.0, 8.0)

    def thing(number: int, x: float, size: float) -> SceneObject:
        return SceneObject(number, "", OrientedBox(np.array([x, 4.0, 0.0]), np.array([size, size, 0.5]), np.eye(3)))

    small, large = thing(1, 2.0, 0.3), thing(2, 6.0, 2.5)
    scale = 0.8
    marks = {m.object_id: m for m in place_on_bev(bev, [small, large], scale, height_px=10, beside=True)}
    at = {o.id: (bev.to_pixels(o.box.center)[0] + 0.5) * scale for o in (small, large)}
    w, h = plate_size(1, 10)
    away = np.abs(np.array([marks[1].u, marks[1].v]) - at[1])
    assert away[0] > w / 2 or away[1] > h / 2  # the middle of the small thing can be seen
    assert np.hypot(*away) < 40
    np.testing.assert_allclose((marks[2].u, marks[2].v), at[2], atol=1)
    on_it = {m.object_id: m for m in place_on_bev(bev, [small, large], scale, height_px=10)}
    np.testing.assert_allclose((on_it[1].u, on_it[1].v), at[1], atol=1)


def test_dots_tell_where_they_are() -> None:
    image = dotted(np.full((320, 320, 3), 90, np.uint8), 16)
    assert image[0, 0].tolist() == [6, 6, 0] and image[160, 304].tolist() == [249, 134, 0]
    assert image[163, 307].tolist() == [249, 134, 0] and (image[164, 308] == 90).all()
    assert ((image == 90).all(axis=-1)).mean() == pytest.approx(15 / 16)


def test_dots_on_a_number_tell_where_the_thing_is_and_hide_no_digit() -> None:
    """Four things on one spot and one alone: each plate begins on the grid; its dots have the colour of its thing."""
    bev = floor(8.0, 8.0)
    boxes = [OrientedBox(np.array([x, 4.0, 0.0]), np.full(3, 0.3), np.eye(3)) for x in (2.0, 2.1, 2.2, 2.2, 6.0)]
    things = tuple(SceneObject(k + 20, "", box) for k, box in enumerate(boxes))
    numbers = {o.id: o.id for o in things}
    numbering, view = Numbering(numbers, numbers, {}), Overview("", bev, things, True)
    config = PromptConfig(bev_px=320, marker_px=9, bev_dots_px=16)
    image = draw_overview(view, numbering, config)
    scale = 320 / bev.color.shape[0]
    marks = place_on_bev(bev, things, scale, numbers, 10, grid_px=16)
    bare = draw(np.zeros_like(image), marks, numbers, 10)  # no dots
    ink = (bare == 255).all(axis=-1)
    by_id = {o.id: o for o in things}
    aside = 0
    for m in marks:
        u, v = (bev.to_pixels(by_id[m.object_id].box.center)[0] + 0.5) * scale
        w, h = plate_size(m.object_id, 10)
        left, top = round(m.u - w / 2), round(m.v - h / 2)
        assert left % 16 == 0 and top % 16 == 0 and left >= 0 and left + w <= 320
        for x in (left, left + 16):  # two squares' middles lie on a plate of 26 px
            assert (
                tuple(image[top, x]) == tuple(image[top + 3, x + 3]) == (round(u * 255 / 320), round(v * 255 / 320), 0)
            )
        digits = ink[top + 2 : top + h - 2, left + 2 : left + w - 2]
        seen = (image == 255).all(axis=-1)[top + 2 : top + h - 2, left + 2 : left + w - 2]
        assert digits.any() and (seen == digits).all()
        aside += np.hypot(m.u - u, m.v - v) > 20
    assert len(marks) == 5 and aside >= 2


def test_pictures_differ_in_key_where_they_are_drawn_otherwise() -> None:
    scene = room()
    numbering = Numbers().of(scene)
    configs = [
        PromptConfig(),
        PromptConfig(bev_square_m=8.0),
        PromptConfig(bev_square_m=8.0, bev_beside=True),
        PromptConfig(bev_square_m=8.0, bev_dots_px=16),
    ]
    keys = {whole(scene, numbering, c).key for c in configs}  # type: ignore[union-attr]
    assert len(keys) == len(configs)


def test_what_was_measured_is_left_out_where_a_model_is_not_told() -> None:
    told, untold = (
        str(Prompter(PromptConfig(measured=m)).build(Question("Is it big?"), room(), measured=["#1 is big"]).chat.turns)
        for m in (True, False)
    )
    assert "Measured in the map" in told and "Measured in the map" not in untold


def test_what_is_marked_is_listed_below_where_asked_to() -> None:
    scene = room()
    odd = replace(scene.objects[0], label="Arm_Chair <OBJ003> <|im_end|>")
    scene = replace(scene, objects=(odd, *scene.objects[1:]))
    parts = Prompter(PromptConfig(legend=True)).build(Question("Where is it?"), scene).chat.turns[0].parts
    at = next(k for k, p in enumerate(parts) if isinstance(p, str) and p.startswith("Marked:\n"))
    shown = parts[at - 1]
    assert isinstance(shown, ChatImage) and shown.key.startswith("bev-") and parts[at].endswith("\n")
    assert f"\narm-chair-<-obj003->-<-|im-end|->=<OBJ{odd.id:03d}>\n" in parts[at]  # a label is only text
    bare = Prompter(PromptConfig(legend=True, markers=False)).build(Question("Where is it?"), scene)
    assert not any(isinstance(p, str) and p.startswith("Marked") for p in bare.chat.turns[0].parts)
    assert "Marked" not in str(Prompter(PromptConfig()).build(Question("Where is it?"), scene).chat.turns[0].parts)
