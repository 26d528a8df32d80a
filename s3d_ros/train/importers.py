"""The official annotation files as examples: ScanAlign's five, VSI-Bench, VSTI-Bench, OpenEQA.

Answers in words are put as GPT4Scene trains them (first capital, full stop), one record for each different answer.
What can't become an example is counted, with why.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s3d_ros.benchmarks.annotations import (
    GroundingItem,
    QaItem,
    read_openeqa,
    read_scan2cap,
    read_scanqa,
    read_spatial,
    read_sqa3d,
)
from s3d_ros.benchmarks.annotations_grounding import read_multi3drefer, read_scanrefer
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.examples import Example, sentence
from s3d_ros.train.problems import DatasetError
from s3d_ros.train.sources import safe

_OWN_FRAMES = re.compile(r"\bframes?\s+(?:number\s+)?\d+", re.IGNORECASE)


@dataclass
class Imported:
    """examples: by scene as the file names it. left_out: why, how many. total: rows of the files."""

    examples: dict[str, list[Example]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def add(self, scene: str, example: Example) -> None:
        self.examples.setdefault(scene, []).append(example)


def import_annotations(name: str, paths: Sequence[Path]) -> Imported:
    """Read an official file (SQA3D: two). Raises DatasetError for an unknown name, BenchmarkError for a bad file."""
    if name not in IMPORTERS:
        raise DatasetError(f"there is no importer {name!r}; there are {', '.join(IMPORTERS)}")
    return IMPORTERS[name](*paths)


def scene_key(name: str) -> str:
    """Return the key of the scene that a benchmark means: OpenEQA's episodes hold ScanNet's name among others.

    >>> scene_key("scannet-v0/002-scannet-scene0709_00"), scene_key("hm3d-v0/000-hm3d-BFRyYbPCCPE")
    ('scene0709_00', 'BFRyYbPCCPE')
    """
    match = re.search(r"scene\d{4}_\d\d", name)
    return match[0] if match else safe(name.rpartition("/")[2].rpartition("hm3d-")[2])


def _answers(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(sentence(t) for t in texts) if text]


def _qa(name: str, read: Callable[..., Sequence[QaItem]]) -> Callable[..., Imported]:
    def run(*paths: Path) -> Imported:
        out = Imported()
        for item in read(*paths):
            out.total += 1
            answers = _answers(item.answers)
            if not answers:
                out.left_out["the answer is empty"] += 1
            situation = item.situation
            for k, answer in enumerate(answers):
                out.add(
                    item.scene,
                    Example(
                        f"{name}-{item.id}-{k}",
                        name,
                        item.kind,
                        Task.SITUATED if situation else Task.QUESTION,
                        item.question,
                        answer,
                        situation_text=situation,
                    ),
                )
        return out

    return run


def _grounding(name: str, read: Callable[[Path], Sequence[GroundingItem]], task: Task) -> Callable[..., Imported]:
    def run(path: Path) -> Imported:
        out = Imported()
        for item in read(path):
            out.total += 1
            text = " ".join(item.description.split())
            example = Example(f"{name}-{item.id}", name, item.kind, task, text, objects=item.objects)
            out.add(item.scene, example)
        return out

    return run


def _captions(path: Path) -> Imported:
    out = Imported()
    for item in read_scan2cap(path):
        for k, text in enumerate(_answers(item.captions)):
            out.total += 1
            asked = f"<OBJ{item.object}>"
            example = Example(
                f"scan2cap-{item.id}-{k}", "scan2cap", "caption", Task.CAPTION, asked, text, (item.object,)
            )
            out.add(item.scene, example)
    return out


def _spatial(name: str) -> Callable[..., Imported]:
    def run(path: Path) -> Imported:
        out = Imported()
        for item in read_spatial(path):
            out.total += 1
            if not item.question:
                out.left_out["the file holds no question (it is a key)"] += 1
            elif _OWN_FRAMES.search(item.question):
                out.left_out["it names frames of its own sampling, which a scene's view frames are not"] += 1
            else:
                example = Example(
                    f"{name}-{item.id}", name, item.type, Task.QUESTION, item.question, item.truth, (), item.options
                )
                out.add(item.scene, example)
        return out

    return run


IMPORTERS: Mapping[str, Callable[..., Imported]] = {
    "scanqa": _qa("scanqa", read_scanqa),
    "sqa3d": _qa("sqa3d", read_sqa3d),
    "scan2cap": _captions,
    "scanrefer": _grounding("scanrefer", read_scanrefer, Task.GROUND_ONE),
    "multi3drefer": _grounding("multi3drefer", read_multi3drefer, Task.GROUND_MANY),
    "vsi": _spatial("vsi"),
    "vsti": _spatial("vsti"),
    "openeqa": _qa("openeqa", read_openeqa),
}
