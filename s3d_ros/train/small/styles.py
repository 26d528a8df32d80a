"""How markers are drawn: the project's own way, and many others, so that a model learns digits and not one font."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from s3d_ros.markers import draw
from s3d_ros.types import U8, Marker

Color = tuple[int, int, int]
PROJECT = "project"  # s3d_ros.markers
# Kept for evaluation: never drawn in training
HELD_OUT_FONTS = ("hershey-3", "DejaVuSerif-Bold.ttf")
FONTS = (
    *(f"hershey-{n}" for n in (0, 1, 2, 4, 5)),
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSerif.ttf", "STIXGeneralBol.ttf",
)  # fmt: skip
SHAPES = ("box", "round", "none")


@dataclass(frozen=True)
class Style:
    """font: PROJECT, hershey-N or a file of Matplotlib's. Colours are RGB. rim_px: width of the plate's edge.

    colored: each digit has its own colour, as the project draws them where asked to.
    """

    font: str = PROJECT
    digits_px: int = 10
    plate: Color = (20, 20, 20)
    rim: Color = (255, 255, 255)
    ink: Color = (255, 255, 255)
    shape: str = "box"
    rim_px: int = 1
    colored: bool = False


def random_style(rng: np.random.Generator, held_out: bool = False, project_share: float = 0.65) -> Style:
    """Return a style; held_out: one of fonts and colours (dark blue on yellow, and like it) that training has not."""
    digits_px = int(rng.integers(10, 16))
    if not held_out and rng.random() < project_share:
        return Style(
            digits_px=10 if rng.random() < 0.7 else int(rng.integers(10, 14)), colored=bool(rng.random() < 0.85)
        )
    font = str(rng.choice(HELD_OUT_FONTS if held_out else FONTS))
    if held_out:
        plate, ink = (230, 205, 60), (10, 20, 90)
    else:
        plate, ink = _pair(rng)
    rim = (255, 255, 255) if sum(plate) < 380 else (0, 0, 0)
    shape = "round" if held_out else str(rng.choice(SHAPES))
    return Style(font, digits_px, plate, rim, ink, shape, int(rng.integers(0, 3)))


def draw_marks(
    image: U8,
    marks: Sequence[Marker],
    numbers: Mapping[int, int],
    style: Style,
    anchors: Mapping[int, tuple[float, float]],
) -> U8:
    """Return a copy of an image with marks drawn; arguments as of ``markers.draw``."""
    if style.font == PROJECT:
        return draw(image, marks, numbers, style.digits_px, anchors, style.colored)
    out = np.ascontiguousarray(image.copy())
    for m in marks:
        at = anchors.get(m.object_id)
        if at is not None and np.hypot(at[0] - m.u, at[1] - m.v) > style.digits_px:
            cv2.line(out, (round(at[0]), round(at[1])), (round(m.u), round(m.v)), style.plate, 1, cv2.LINE_AA)
    for m in marks:
        digits = _digits(str(numbers[m.object_id]), style.font, style.digits_px)
        _plate(out, m, digits.shape[1], digits.shape[0], style)
        y0, x0 = round(m.v - digits.shape[0] / 2), round(m.u - digits.shape[1] / 2)
        a, b = max(y0, 0), min(y0 + digits.shape[0], out.shape[0])
        c, d = max(x0, 0), min(x0 + digits.shape[1], out.shape[1])
        if a >= b or c >= d:
            continue
        ink = digits[a - y0 : b - y0, c - x0 : d - x0, None]
        if style.shape == "none":  # bare digits need a halo to be seen on any ground
            halo = cv2.dilate(ink, np.ones((3, 3)))[..., None]
            out[a:b, c:d] = np.round(out[a:b, c:d] * (1 - halo) + np.array(style.plate) * halo)
        out[a:b, c:d] = np.round(out[a:b, c:d] * (1 - ink) + np.array(style.ink) * ink)
    return out


def _plate(out: U8, m: Marker, width: int, height: int, style: Style) -> None:
    if style.shape == "none":
        return
    half_w, half_h = width / 2 + 2, height / 2 + 2
    for grow, color in ((style.rim_px, style.rim), (0, style.plate)):
        if style.shape == "box":
            low = (round(m.u - half_w - grow), round(m.v - half_h - grow))
            cv2.rectangle(out, low, (round(m.u + half_w + grow), round(m.v + half_h + grow)), color, -1)
        else:
            axes = (round(half_w * 1.1 + grow), round(half_h * 1.15 + grow))
            cv2.ellipse(out, (round(m.u), round(m.v)), axes, 0, 0, 360, color, -1, cv2.LINE_AA)


def _pair(rng: np.random.Generator) -> tuple[Color, Color]:
    """Return colours of plate and ink, far enough apart in brightness; none near the held-out yellow."""
    while True:
        plate, ink = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
        if rng.random() < 0.3:  # plain ones are common
            plate, ink = np.array([rng.integers(0, 50)] * 3), np.array([rng.integers(200, 256)] * 3)
            plate, ink = (plate, ink) if rng.random() < 0.5 else (ink, plate)
        grey = np.array([0.3, 0.59, 0.11])
        yellow = plate[0] > 180 and plate[1] > 160 and plate[2] < 130
        if abs(float((plate - ink) @ grey)) > 100 and not yellow:
            return tuple(int(x) for x in plate), tuple(int(x) for x in ink)  # type: ignore[return-value]


@lru_cache(maxsize=20_000)
def _digits(text: str, font: str, height_px: int) -> np.ndarray:
    """Return how much ink is where, (H, W) float32 0..1, cut to the digits."""
    if font.startswith("hershey-"):
        face, scale, thick = int(font[8:]), height_px / 22, 2 if height_px > 12 else 1
        (w, h), base = cv2.getTextSize(text, face, scale, thick)
        canvas = np.zeros((h + base + 8, w + 8), np.uint8)
        cv2.putText(canvas, text, (4, h + 4), face, scale, (255,), thick, cv2.LINE_AA)
    else:
        loaded = _font(font, height_px)
        image = Image.new("L", (height_px * (len(text) + 1), height_px * 2))
        ImageDraw.Draw(image).text((2, 2), text, 255, font=loaded)
        canvas = np.asarray(image)
    rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
    cut = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(cut / np.float32(255), np.float32)


@lru_cache(maxsize=400)
def _font(name: str, height_px: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), round(height_px * 1.25))
