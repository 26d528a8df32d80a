"""Which geometry encoder: the small one that is shipped, one of one's own, or a pretrained model of Transformers."""

from __future__ import annotations

import json
from pathlib import Path

from s3d_ros.geometry_tokens.config import CONFIG, KIND
from s3d_ros.geometry_tokens.encoder import GeometryEncoder, GeometryError

SMALL, SCORES = "small", "scores.json"
SHIPPED = Path(__file__).parent / "weights"
CUT3R = "cut3r"
_KINDS = (
    f"'{SMALL}' (shipped), a folder that s3d train-geometry wrote, CUT3R's weights as safetensors, or a Depth Anything "
    "V2 (metric) or a DepthPro in Transformers' format"
)
# For these there is no code here, nor in Transformers (5.23), and their authors' packages bring their own PyTorch
_FOREIGN = {
    "vggt": "VGGT",
    "dust3r": "DUSt3R",
    "mast3r": "MASt3R",
    "depth-anything-3": "Depth Anything 3",
    "da3": "Depth Anything 3",
    "pi3": "Pi3",
}


def load_encoder(name: str, device: str = "cpu") -> GeometryEncoder:
    """Return an encoder. name: "small" or a folder. Raises GeometryError, which says what there is instead."""
    directory = encoder_folder(name)
    kind = _kind(directory)
    if kind == KIND:
        from s3d_ros.geometry_tokens.small import SmallGeometry

        return SmallGeometry.load(directory)
    if kind == CUT3R:
        from s3d_ros.geometry_tokens.cut3r import Cut3rGeometry

        return Cut3rGeometry.load(directory, device)
    from s3d_ros.geometry_tokens.pretrained import PretrainedDepth

    return PretrainedDepth.load(directory, device)


def measured(name: str) -> str:
    """Return in words how good an encoder was on rooms that it had not seen, where its folder says (scores.json)."""
    try:
        told = json.loads((encoder_folder(name) / SCORES).read_text(encoding="utf-8"))
        depth, drift = float(told["abs_rel"]), float(told["drift_50_m"])
    except (OSError, ValueError, KeyError, TypeError):
        return "How good they are was not measured."
    return (
        f"In {told['of']} its depth was off by {100 * depth:.0f} % on average, and its place by {drift:.1f} m after 50 "
        "pictures; in real ones both are worse."
    )


def encoder_folder(name: str) -> Path:
    """Return the folder of an encoder. Raises GeometryError where there is none."""
    if name == SMALL and not (SHIPPED / CONFIG).is_file():
        raise GeometryError(
            f"no weights are shipped with this version: train some with s3d train-geometry, or give {_KINDS}"
        )
    directory = SHIPPED if name == SMALL else Path(name).expanduser()
    if not directory.is_dir():
        what = "is a file; give the folder that it is in" if directory.is_file() else "is not there"
        foreign = _foreign(directory.name)
        raise GeometryError(f"the geometry encoder {name} {what}{foreign}. Give {_KINDS}")
    _kind(directory)
    return directory


def _kind(directory: Path) -> str:
    from s3d_ros.geometry_tokens.cut3r import weights_of
    from s3d_ros.geometry_tokens.pretrained import KINDS

    held = " ".join(p.name for p in sorted(directory.iterdir()))
    try:
        told = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        kind = str(told.get("kind") or told.get("model_type") or "")
    except (OSError, ValueError, AttributeError):
        told, kind = {}, ""
    if kind == KIND or kind in KINDS:
        return kind
    if weights_of(directory) is not None:
        return CUT3R
    foreign = _foreign(f"{directory.name} {held} {kind} {told.get('architectures', '')}")
    what = f"is a {kind}" if kind else f"has no {CONFIG} that tells what it is"
    raise GeometryError(f"the geometry encoder in {directory} {what}{foreign}. Give {_KINDS}")


def _foreign(text: str) -> str:
    found = next((title for word, title in _FOREIGN.items() if word in text.lower()), "")
    return f" ({found}: neither s3d_ros nor Transformers has its network, so it can't be loaded)" if found else ""
