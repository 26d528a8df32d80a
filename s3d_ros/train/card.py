"""The data card of a training set, made of the shards' indices: ``card.json``, and ``README.md`` for people."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from s3d_ros.train.settings import BuildSettings
from s3d_ros.train.shards import shard_indices, write_atomically

CARD = "card.json"
_SUMS = ("conversations", "views", "depths", "objects", "true_objects", "matched", "frames")


def write_card(
    out: Path, settings: BuildSettings, told: dict[str, Any], made: int = 0, seconds: float = 0.0
) -> dict[str, Any]:
    """Write both, and return what ``card.json`` holds. told: what the indices don't know (imported, failed)."""
    splits: dict[str, dict[str, Any]] = {}
    kinds, left_out, licences = Counter[str](), Counter[str](), Counter[str]()
    scenes: dict[str, dict[str, Any]] = {}
    for path, index in shard_indices(out):
        for row in index["scenes"]:
            scenes[row["scene"]] = {
                k: row[k] for k in ("split", "group", "dataset", "licence", "seed", "conversations")
            }
            split = splits.setdefault(row["split"], {"scenes": 0, "shards": [], "bytes": 0, **dict.fromkeys(_SUMS, 0)})
            split["scenes"] += 1
            for name in _SUMS:
                split[name] += row[name]
            kinds.update(row["kinds"])
            left_out.update(row["left_out"])
            licences[f"{row['dataset']}: {row['licence']}"] += 1
        split = splits[index["scenes"][0]["split"]]
        split["shards"].append(path.with_suffix(".tar").name)
        split["bytes"] += index["bytes"]
    earlier = out / CARD
    speed = {"scenes_made": made, "seconds": round(seconds, 1)}
    if not made and earlier.exists():
        speed = json.loads(earlier.read_text()).get("speed", speed)
    card = {
        "format": "s3d training set 1",
        "splits": dict(sorted(splits.items())),
        "conversations": sum(s["conversations"] for s in splits.values()),
        "kinds": dict(sorted(kinds.items())),
        "left_out": dict(left_out.most_common()),
        **told,
        "licences": dict(sorted(licences.items())),
        "settings": settings.plain(),
        "fingerprint": settings.fingerprint(),
        "speed": speed,
        "scenes": dict(sorted(scenes.items())),
    }
    write_atomically(earlier, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomically(out / "README.md", _readme(out.name, card).encode())
    return card


def _readme(name: str, card: dict[str, Any]) -> str:
    s = card["settings"]
    lines = [
        f"# {name}",
        "",
        "A training set of marked view frames and bird's-eye views with conversations about them, made by "
        "`s3d dataset build`. How it is laid out: `docs/datasets.md` of s3d_ros. All figures are in `card.json`, too.",
        "",
        "| split | scenes | places | conversations | view frames | with depth | objects | MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for split, row in card["splits"].items():
        places = len({v["group"] for v in card["scenes"].values() if v["split"] == split})
        lines.append(
            f"| {split} | {row['scenes']} | {places} | {row['conversations']} | {row['views']} | {row['depths']} | "
            f"{row['objects']} | {row['bytes'] / 1e6:.1f} |"
        )
    true, matched = (sum(r[k] for r in card["splits"].values()) for k in ("true_objects", "matched"))
    lines += [
        "",
        "No place is in two splits: scenes of one place (renders of a layout, scans of a room) are one group.",
    ]
    if true:
        lines += [
            "",
            f"Of {true} true objects {matched} have an object of the map with IoU of at least {s['proposal_iou']:g}; "
            "only these are named in answers.",
        ]
    lines += ["", "## Conversations", "", "| kind | number |", "|---|---|"]
    lines += [f"| {kind} | {n} |" for kind, n in card["kinds"].items()] or ["| none | 0 |"]
    if card["imported"]:
        lines += [
            "",
            "## Official files",
            "",
            "| file | rows | examples of these scenes | left out |",
            "|---|---|---|---|",
        ]
        for kind, row in card["imported"].items():
            why = "; ".join(f"{n}: {w}" for w, n in row["left_out"].items()) or "none"
            lines.append(f"| {kind} | {row['rows']} | {row['examples']} | {why} |")
    lines += ["", "## Left out", ""]
    lines += [f"- {n}: {why}" for why, n in card["left_out"].items()] or ["Nothing."]
    if card["failed"]:
        lines += ["", "## Scenes that could not be made", ""]
        lines += [f"- {key}: {why.splitlines()[0]}" for key, why in card["failed"].items()]
    lines += ["", "## Licences", "", "The strictest of them is the set's.", ""]
    lines += [f"- {n} scenes of {text}" for text, n in card["licences"].items()]
    lines += [
        "",
        "## How it was made",
        "",
        f"Seed {s['seed']}; simulated homes at {s['fps']:g} Hz, {s['size'][0]}x{s['size'][1]}, noise {s['noise']!r}; "
        f"generated kinds {', '.join(s['kinds'])}, up to {s['per_kind']} of each; prompt in the "
        f"{s['prompt']['wording']} wording with up to {s['prompt']['frames']} frames. "
        "All settings, the mapper's too, are in `card.json`.",
        "",
    ]
    return "\n".join(lines)
