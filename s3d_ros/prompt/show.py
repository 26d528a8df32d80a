"""Write what a model sees into a folder: its images as PNG, its text as it is, and a page of both."""

from __future__ import annotations

import html
from pathlib import Path

import cv2

from s3d_ros.chat import Chat, ChatImage

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:960px;margin:2em auto;padding:0 1em}img{display:block;max-width:100%}"
    "pre{white-space:pre-wrap;font:inherit;margin:.6em 0}h2{font-size:1em;color:#666;border-top:1px solid #ccc}"
)


def show(chat: Chat, folder: Path, reply: str = "") -> Path:
    """Write ``01-view-3.png``, ..., ``prompt.txt`` and ``index.html``; return the page. Pixels are the model's own.

    Images of an earlier call in the same folder are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9]*-*.png"):
        old.unlink()
    text = [f"[system]\n{chat.system}"]
    page = [f"<h2>system</h2><pre>{html.escape(chat.system)}</pre>"]
    images = 0
    for number, turn in enumerate(chat.turns):
        text.append(f"[{turn.role}]")
        page.append(f"<h2>{turn.role}</h2>")
        for k, part in enumerate(turn.parts):
            if number == 0 and k == chat.shared_parts:
                text.append("[what follows is the question's own]")
                page.append("<h2>the question's own</h2>")
            if isinstance(part, ChatImage):
                images += 1
                name = f"{images:02d}-{'-'.join(part.key.split('-')[:-1]) or 'image'}.png"
                if not cv2.imwrite(str(folder / name), part.pixels[..., ::-1]):
                    raise OSError(f"can't write {folder / name}")
                rows, columns = part.pixels.shape[:2]
                text.append(f"[{name}, {columns} x {rows}]")
                page.append(f'<img src="{name}" width="{columns}" height="{rows}" alt="{name}">')
            else:
                text.append(part)
                page.append(f"<pre>{html.escape(part)}</pre>")
    if reply:
        text.append(f"[reply]\n{reply}")
        page.append(f"<h2>reply</h2><pre>{html.escape(reply)}</pre>")
    (folder / "prompt.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>What the model saw</title><style>{_STYLE}</style>'
    )
    out = folder / "index.html"
    out.write_text(head + "".join(page) + "</html>\n", encoding="utf-8")
    return out
