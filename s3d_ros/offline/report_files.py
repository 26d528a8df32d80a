"""Reading a run's files for its report, and pictures as part of a page."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2

from s3d_ros.offline.run import RunError
from s3d_ros.types import U8


def read_json(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error})") from error


def data_uri(image: U8, kind: str, quality: int = 0) -> str:
    """Encode a picture (BGR or BGRA) as a data URI."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    _, data = cv2.imencode(kind, image, options)
    mime = {".jpg": "image/jpeg", ".png": "image/png"}[kind]
    return f"data:{mime};base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
