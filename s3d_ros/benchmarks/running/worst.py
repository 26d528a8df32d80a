"""The answers that were most wrong, with what the model saw: pages by ``prompt.show``."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from s3d_ros.benchmarks.running.items import Row
from s3d_ros.benchmarks.running.journal import read_prompts
from s3d_ros.benchmarks.running.places import Place
from s3d_ros.chat import Chat, ChatImage, Part, Turn
from s3d_ros.prompt.build import Prompter
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.show import show
from s3d_ros.types import Question, Scene, Situation

WORST, ABOUT, PAGE = "worst", "about.json", "index.html"


def write_worst(
    folder: Path, worst: Sequence[Row], answers: Mapping[str, Row], places: Mapping[str, Place], config: PromptConfig
) -> None:
    """Write ``worst/01/index.html``, ...: what was shown, asked and replied; without a model the map from above.

    worst: rows of a result's ``worst``; answers: kept rows by id. Those of an earlier call are removed.
    """
    shutil.rmtree(folder / WORST, ignore_errors=True)
    prompts = read_prompts(folder)
    scenes: dict[str, Scene] = {}
    for number, row in enumerate(worst, 1):
        place = places[row["scene"]]
        page = folder / WORST / f"{number:02d}"
        page.mkdir(parents=True)
        told = prompts.get(row["id"])
        if told is None:
            if (place.run / "bev_marked.png").exists():
                shutil.copyfile(place.run / "bev_marked.png", page / "map.png")
            (page / PAGE).write_text(_map_page(row, answers[row["id"]]), encoding="utf-8")
        else:
            if row["scene"] not in scenes:
                scenes = {row["scene"]: place.scene(pictures=True)}
            show(chat_again(told, answers[row["id"]], scenes[row["scene"]], config), page, told["reply"])
        about = {**row, "answer": answers[row["id"]]["answer"], "error": answers[row["id"]]["error"]}
        (page / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def chat_again(told: Row, answer: Row, scene: Scene, config: PromptConfig) -> Chat:
    """Return a chat from its plain values; its pictures are drawn again, and those of equal key are equal.

    A picture that can't be made again (what a tool cut out) becomes a word.
    """
    drawn = _pictures(answer, scene, config)

    def part(p: str | Row) -> Part:
        return p if isinstance(p, str) else drawn.get(p["image"], f"[picture {p['image']} is not kept]")

    turns = tuple(Turn(t["role"], tuple(part(p) for p in t["parts"])) for t in told["turns"])
    return Chat(told["system"], turns, told["shared_parts"])


def _pictures(answer: Row, scene: Scene, config: PromptConfig) -> dict[str, ChatImage]:
    asked = answer["asked"]
    place = asked["situation"]
    situation = None if place is None else Situation(np.array(place[0]), np.array(place[1]))
    question = Question(asked["question"], tuple(asked["options"]), situation)
    made = Prompter(config).build(question, scene, measured=answer["measured"]).chat
    shared = Prompter(config).shared(scene)
    return {image.key: image for chat in (made, shared) for image in chat.images}


def _map_page(row: Row, answer: Row) -> str:
    words = [("question", row["question"]), ("reply", answer["answer"]), ("said", row["said"]), ("right", row["right"])]
    rows = "".join(f"<p><b>{name}</b> {html.escape(str(value))}</p>" for name, value in words)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(row["id"])}</title>'
        f'{rows}<p>No picture was shown; this is the map:</p><img src="map.png" alt="map from above"></html>\n'
    )
