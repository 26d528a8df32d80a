"""Why an image did not become a frame: stable reasons, each with a sentence that a person understands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

# Images and poses that were given up. The names are in reports and diagnostics: never rename one.
DROPS: Mapping[str, str] = {
    "color_duplicate": "a colour image had the stamp of the one before (a camera that does not stamp its images?)",
    "color_out_of_order": "a colour image came after a newer one",
    "color_unreadable": "a colour image could not be decoded",
    "depth_duplicate": "a depth image had the stamp of another one",
    "depth_missing": "there was no depth image within frames.pair_tolerance_s of the colour image",
    "depth_unused": "there was no colour image within frames.pair_tolerance_s of the depth image",
    "depth_unreadable": "a depth image could not be decoded",
    "depth_size": "depth and colour had sizes that can't be the same picture: use depth registered to colour",
    "camera_info_missing": "there was no camera_info for the colour image",
    "camera_info_invalid": "the camera_info was not calibrated, or could not be used",
    "camera_info_size": "the camera_info was for images of another shape",
    "pose_missing": "there was no pose for the colour image's stamp within frames.wait_s",
    "pose_before_first": "the colour image was older than the first pose",
    "pose_gap": "the poses around the colour image were further apart than frames.pose_gap_s allows",
    "pose_invalid": "a pose was no rigid transform: its rotation was off by more than rounding, or not finite",
    "path_invalid": "a corrected path could not be used: its poses need stamps of what was mapped, in the map's frame",
    "extrinsic_missing": "where the camera sits on the frame whose pose is given was unknown: "
    "publish it on /tf_static, or set frames.extrinsic",
    "map_frame_missing": "the poses were given in another frame than the map's, and nothing connects the two",
    "transform_missing": "/tf did not connect the camera with the map frame at the colour image's stamp",
    "transform_invalid": "a transform on /tf was not usable: its rotation, or its frames' names",
    "queue_full": "more than frames.max_pending images waited for their depth or pose",
    "restart": "an image still waited when the stamps went back",
    "instances_without_frame": "instances came for an image that did not become a frame",
    "instances_duplicate": "instances came a second time for the same image",
    "instances_frame": "instances were of another camera's image than the colour images",
    "instances_size": "the image of instance numbers had a shape that does not fit the colour image",
    "instances_unreadable": "instances could not be read: their image, or lists of unlike length",
    "message_unreadable": "a message was not what its topic's type says",
    "video_lost": "a picture of a video showed too little of what the one before showed: from where is unknown",
    "recording_damaged": "the recording could be read up to a place, and not beyond",
}

# What was used all the same, but that its owner should know of.
NOTES: Mapping[str, str] = {
    "gap": "a pause between two colour images was longer than half a second",
    "restart": "the stamps went back by more than frames.max_jump_back_s (a looping bag?): pairing started afresh",
    "depth_resized": "depth came in another size than colour and was resized",
    "depth_frame_differs": "depth was in another frame than colour: it may not be registered to it",
    "camera_info_ignored": "a camera_info that can't be used came beside good ones",
    "undistorted": "an image was undistorted as its camera_info says",
    "instances_missing": "a frame went on without instances though the recording has a topic for them",
    "instances_resized": "an image of instance numbers came in another size than colour and was resized",
}


class Lacking(Exception):
    """An image can't become a frame; ``reason`` is one of DROPS, ``may_come`` says whether waiting can help."""

    def __init__(self, reason: str, message: object = "", may_come: bool = False) -> None:
        super().__init__(str(message))
        self.reason = reason
        self.may_come = may_come


class Tally:
    """Counts of drops and notes, with the last detail of each."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.details: dict[str, str] = {}

    def drop(self, reason: str, detail: object = "") -> None:
        """Count one thing that was given up, for a reason of DROPS."""
        if reason not in DROPS:
            raise KeyError(f"{reason!r} is no reason of DROPS")
        self.drops[reason] += 1
        self._remember(reason, detail)

    def note(self, what: str, detail: object = "") -> None:
        """Count one thing of NOTES."""
        if what not in NOTES:
            raise KeyError(f"{what!r} is none of NOTES")
        self.notes[what] += 1
        self._remember(what, detail)

    def _remember(self, key: str, detail: object) -> None:
        if text := str(detail):
            self.details[key] = text

    def sentences(self) -> list[str]:
        """Return one line for each reason, the most frequent first, drops before notes."""
        lines = []
        for counts, words in ((self.drops, DROPS), (self.notes, NOTES)):
            for key, count in counts.most_common():
                last = f" (last: {self.details[key]})" if key in self.details else ""
                lines.append(f"{count} x {key}: {words[key]}{last}")
        return lines
