"""What a language model gets to see of a scene, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s3d_ros.keys import choice, from_dict, number, plain


@dataclass(frozen=True)
class PromptConfig:
    """GPT4Scene's images and text."""

    wording: str = choice(
        "zero-shot", ("zero-shot", "fine-tuned"), "fine-tuned: as GPT4Scene's checkpoints and ours were trained"
    )
    frames: int = number(32, 0, 300, "view frames that a model sees at most; fewer where they don't fit")
    frame_width: int = number(512, 64, 4096, "a view frame is scaled to fit in this width and")
    frame_height: int = number(384, 64, 4096, "this height; it is never enlarged")
    markers: bool = plain(True, "objects are marked by number; without, none can be named by its ID")
    bev: bool = plain(True, "the bird's-eye view is shown, too")
    captions: bool = plain(True, "each image is introduced by its number and time")
    marker_px: int = number(13, 9, 100, "height of the digits on images; less where plates would touch")
    marker_colors: bool = plain(
        False, "each digit has its own colour, for a model that reads colours better than shapes"
    )
    bev_px: int = number(896, 128, 4096, "longer side of the bird's-eye view")
    bev_square_m: float = number(
        0.0,
        0,
        1000,
        "the bird's-eye view is a square of so many metres, or 1.5, 2.25, ... times that where more is to be "
        "shown, and its caption says how many; 0: what is known, as large as fits",
    )
    bev_beside: bool = plain(
        False, "a number that would hide its thing on the bird's-eye view stands beside it, with a line to it"
    )
    bev_dots_px: int = number(
        0,
        0,
        256,
        "a dot every so many pixels of the bird's-eye view, coloured by its place (red to the right, green "
        "down), for a model that can't tell where it looks; numbers stand on that grid then, and the dots on a number "
        "have the colour of the place of what it marks, which may lie aside; 0: none",
    )
    legend: bool = plain(
        False,
        "the labels of what the bird's-eye view marks are listed below it, for a model that can't tell things "
        "by their looks",
    )
    bev_markers: int = number(60, 1, 400, "objects marked on the bird's-eye view at most")
    bev_whole_m: float = number(
        20.0, 2, 1000, "a larger map with more objects than that is shown only around what a question needs"
    )
    measured: bool = plain(True, "a model is told what the map measured about what a question names")
    question_tokens: int = number(
        1024, 64, 32768, "kept free for the question and the talk before it, so that all questions share the images"
    )
    max_question_characters: int = number(4000, 10, 100_000, "longer questions are refused")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PromptConfig:
        """Make a config from its keys. Raises ConfigError naming the key."""
        return from_dict(cls, values, "prompt.")
