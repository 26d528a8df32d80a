"""The report page: whole, without network, true to the run's files, and safe against what labels may hold."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_run import STEP_NS, small_scene, write_small_run

from s3d_ros.offline.report import object_hues, write_report
from s3d_ros.offline.report_map import draw_bev, read_bev
from s3d_ros.offline.report_views import thumbnail
from s3d_ros.offline.run import RunError
from s3d_ros.offline.timeline import read_timeline

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [a for _, a in self.elements if name in (a.get("class") or "").split()]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_small_run(tmp_path / "run")
    return tmp_path / "run"


def page_of(run: Path) -> Page:
    write_report(run)
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_page_needs_nothing_from_elsewhere(run: Path):
    page = page_of(run)
    for tag, attributes in page.elements:
        for name in ("src", "href", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), f"<{tag} {name}={value[:60]!r}>"
        assert tag != "link"
    style = (run / "report.html").read_text()
    assert "@import" not in style and "url(" not in style and "http" not in re.sub(r"data:[^\"]*", "", style)


def test_links_inside_the_page_lead_somewhere(run: Path):
    page = page_of(run)
    ids = {a["id"] for _, a in page.elements if "id" in a}
    targets = {a["href"][1:] for _, a in page.elements if (a.get("href") or "").startswith("#")}
    assert targets and targets <= ids


def test_every_object_is_in_the_table_and_on_the_map(run: Path):
    page = page_of(run)
    assert {a["id"] for t, a in page.elements if t == "tr" and "id" in a} == {"object-1", "object-2", "object-3"}
    assert {a["data-id"] for a in page.with_class("mark")} == {"1", "2", "3"}
    assert "table" in page.text and "stool 20 %" in page.text and "was 4" in page.text
    assert "0.50 × 0.40 × 0.90" in page.text and "2.80, 1.50, 0.45" in page.text
    assert "0.1 – 2.0" in page.text, "first and last sight of the table, from the first frame on"


def test_figures_drops_and_stages_are_those_of_the_run(run: Path):
    text = page_of(run).text
    assert "12.0 m²" in text and "frames in 2 s" in text
    assert re.search(r"3 pose_missing there was no pose", text)
    assert "fusion 12.0 / 20.0 ms 21 × 100 %" in text


def test_answers_link_to_their_objects(run: Path):
    answers = [
        {"id": "q", "success": True, "error": "", "answer": "Right.", "choice": "B", "objects": [4, 99],
         "answered_by": "geometric", "question": "Left or right?", "options": ["A. left", "B. right"]},
        {"id": "r", "success": False, "error": "NOT_SETTLED", "answer": "I don't know.", "objects": []},
    ]  # fmt: skip
    (run / "answers.json").write_text(json.dumps(answers))
    page = page_of(run)
    badges = [a for a in page.with_class("badge") if a.get("data-id")]
    assert "2" in {a["data-id"] for a in badges} and "99" not in {a["data-id"] for a in badges}
    assert len(page.with_class("chosen")) == 1
    assert "NOT_SETTLED" in page.text and "Question r" in page.text


def test_labels_and_questions_are_never_taken_for_html(tmp_path: Path):
    evil = '"><script>alert(1)</script>'
    write_small_run(tmp_path / "run", small_scene(evil))
    answers = [{"id": evil, "answer": evil, "objects": [2], "question": evil, "options": [evil]}]
    (tmp_path / "run" / "answers.json").write_text(json.dumps(answers))
    page = page_of(tmp_path / "run")
    assert sum(tag == "script" for tag, _ in page.elements) == 1
    assert evil in page.text


def test_a_run_that_lacks_things_still_gets_a_page(run: Path):
    for name in ("bev.json", "views.json", "tracks.jsonl", "report.json"):
        (run / name).unlink()
    page = page_of(run)
    assert "Only the first and the last sight are known" in page.text
    assert not page.with_class("bev") and not page.with_class("view")
    assert len(page.with_class("life")) == 3


def test_damaged_files_are_named(run: Path):
    (run / "answers.json").write_text("[{")
    with pytest.raises(RunError, match=r"answers\.json is damaged"):
        write_report(run)
    with pytest.raises(RunError, match="is no run"):
        write_report(run / "frames")


def test_timeline_joins_what_is_close_and_tells_former_ids(run: Path):
    seen = read_timeline(run / "tracks.jsonl", {4: 2})
    assert seen.duration_s == pytest.approx(2.0)
    step_s = STEP_NS / 1e9
    assert seen.spans[1] == [(0.0, pytest.approx(2.0 + step_s), 1)]
    assert seen.spans[2] == [(0.0, pytest.approx(0.5), 2), (1.0, pytest.approx(1.5), 4)]
    assert set(seen.spans) == {1, 2}


def test_timeline_survives_a_cut_line_and_merges_in_a_circle(tmp_path: Path):
    path = tmp_path / "tracks.jsonl"
    path.write_text('{"stamp_ns": 5, "frame": 0, "instances": [{"id": 1}]}\n{"stamp_ns": 9, "fra')
    assert list(read_timeline(path, {1: 2, 2: 1}).frames_s) == [0.0]
    assert read_timeline(tmp_path / "none.jsonl", {}).spans == {}


def test_map_is_cut_to_what_is_known_and_stays_metric(run: Path):
    scene = small_scene()
    bev = read_bev(run)
    assert bev is not None and scene.bev is not None
    assert bev.color.shape[:2] == (150 + 2 * 13, 200 + 2 * 13)  # known part and 25 cm of margin
    point = np.array([[1.3, 0.7, 0.0]])
    u, v = scene.bev.to_pixels(point)[0]
    assert bev.to_pixels(point)[0] == pytest.approx((u - (40 - 13), v - (50 - 13)))
    drawn = draw_bev(bev, scene, object_hues(scene.objects))
    table = next(m for m in drawn["marks"] if m["id"] == 1)
    corners = np.array([[float(c) for c in p.split(",")] for p in table["outline"].split()])
    assert np.ptp(corners, axis=0) == pytest.approx((1.2 * drawn["metre"], 0.8 * drawn["metre"]), abs=0.3)
    assert drawn["robot"]["heading"] == pytest.approx(0.0)  # along +y: up on the picture


def test_unknown_places_are_transparent(run: Path):
    import base64

    bev = read_bev(run)
    assert bev is not None
    uri = draw_bev(bev, small_scene(), {1: 0, 2: 0, 3: 0})["uri"]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape[2] == 4
    assert image[0, 0, 3] == 0 and image[60, 60].tolist() == [90, 120, 150, 255]


def test_each_label_has_one_hue_and_labels_differ():
    hues = object_hues(small_scene().objects)
    assert hues[2] == hues[3] != hues[1]
    blank = object_hues(small_scene("").objects)
    assert blank[2] == blank[3] == -1


def test_thumbnails_show_the_object_from_its_view(run: Path):
    page = page_of(run)
    rows = re.findall(r'<tr id="object-(\d)".*?</tr>', (run / "report.html").read_text(), re.DOTALL)
    assert rows == ["1", "2", "3"]
    assert len(page.with_class("thumb")) == 2, "the third object is on no view frame"


def test_thumbnail_is_cut_where_the_mask_was(run: Path):
    import base64

    thing = small_scene().objects[0]
    image = np.zeros((480, 640, 3), np.uint8)
    image[300:420, 400:560] = (0, 0, 255)
    view = {
        "stamp_ns": 7, "width": 640, "height": 480, "intrinsics": [500, 500, 319.5, 239.5], "ids": [1],
        "T_map_camera": np.eye(4).tolist(), "markers": [{"id": 1, "u": 480, "v": 360}], "image": image,
    }  # fmt: skip
    uri = thumbnail(thing, [view], {7: {1: (400, 300, 160, 120)}})
    assert uri is not None
    cut = cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert (cut[..., 2] > 128).mean() > 0.6, "most of it is the thing"
