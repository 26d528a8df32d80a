"""Camera models from camera_info, and taking distortion out."""

from __future__ import annotations

import bag_writing as bags
import cv2
import numpy as np
import pytest

from s3d_ros.camera import CameraInfoError, CameraModel, Rectifier
from s3d_ros.messages import camera_of
from s3d_ros.types import Intrinsics

K = Intrinsics(64, 48, 60.0, 61.0, 31.5, 23.5)
BARREL = (-0.3, 0.1, 0.001, -0.002, 0.0)


def test_k_of_a_raw_image_and_p_of_a_rectified_one() -> None:
    msg = bags.camera_info(0, k=(60, 61, 31.5, 23.5), p=(50, 51, 30, 22), size=(64, 48), d=BARREL)
    raw = camera_of(msg)
    assert raw == CameraModel(K, BARREL) and raw.is_distorted
    rectified = camera_of(msg, rectified=True)
    assert rectified.intrinsics == Intrinsics(64, 48, 50, 51, 30, 22) and not rectified.is_distorted


def test_p_where_k_was_left_empty() -> None:
    msg = bags.camera_info(0, k=(0, 0, 0, 0), p=(50, 51, 30, 22), size=(64, 48))
    assert camera_of(msg).intrinsics.fx == 50


def test_a_region_of_interest_shifts_the_centre() -> None:
    msg = bags.camera_info(0, k=(60, 61, 31.5, 23.5), size=(64, 48), roi=(8, 4, 32, 24))
    assert camera_of(msg).intrinsics == Intrinsics(32, 24, 60, 61, 23.5, 19.5)


def test_zero_distortion_is_none() -> None:
    assert not camera_of(bags.camera_info(0, d=[0.0] * 5)).is_distorted


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"k": (0, 0, 0, 0)}, "not calibrated: fx = 0"),
        ({"k": (60, -60, 31, 23)}, "fy = -60"),
        ({"k": (np.nan, 60, 31, 23)}, "NaN"),
        ({"d": [np.inf]}, "NaN or infinity"),
        ({"d": [0.5], "model": "magic"}, "'magic' is not known; rectify the images first"),
    ],
)
def test_unusable_camera_infos(fields: dict, words: str) -> None:
    with pytest.raises(CameraInfoError, match=words):
        camera_of(bags.camera_info(0, **fields))


def test_fitting_to_an_image() -> None:
    half = CameraModel(K).fit(24, 32).intrinsics
    assert (half.width, half.height, half.fx, half.cx) == (32, 24, 30, 15.5)
    assert CameraModel(Intrinsics(0, 0, 60, 61, 31.5, 23.5)).fit(48, 64).intrinsics == K
    with pytest.raises(CameraInfoError, match="for 64x48 images, but the image is 64x36"):
        CameraModel(K).fit(36, 64)


@pytest.mark.parametrize(
    ("model", "distortion"),
    [("plumb_bob", BARREL), ("rational_polynomial", (*BARREL, 0.1, 0.05, 0.01)), ("equidistant", (0.1, -0.05, 0, 0))],
)
def test_points_come_to_where_a_pinhole_sees_them(model: str, distortion: tuple[float, ...]) -> None:
    k = Intrinsics(640, 480, 500.0, 500.0, 319.5, 239.5)
    rectifier = Rectifier(CameraModel(k, distortion, model))
    points = np.array([[x, y, 2.0] for x in (-0.9, 0.0, 0.7) for y in (-0.6, 0.1, 0.5)])
    D = np.array(distortion)
    if model == "equidistant":
        seen = cv2.fisheye.projectPoints(points[None], np.zeros(3), np.zeros(3), k.matrix(), D)[0].reshape(-1, 2)
    else:
        seen = cv2.projectPoints(points, np.zeros(3), np.zeros(3), k.matrix(), D)[0].reshape(-1, 2)
    pinhole = points[:, :2] / points[:, 2:] * 500 + (319.5, 239.5)
    assert np.abs(seen - pinhole).max() > 1.5  # or the test would prove nothing
    for raw, wanted in zip(seen, pinhole, strict=True):
        colour, depth = np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), np.float32)
        cv2.circle(colour, tuple(np.rint(raw).astype(int).tolist()), 3, (255, 255, 255), -1)
        cv2.circle(depth, tuple(np.rint(raw).astype(int).tolist()), 3, 2.0, -1)
        for image in (rectifier.color(colour)[..., 0], rectifier.values(depth)):
            v, u = (image > image.max() / 2).nonzero()
            assert np.abs([u.mean() - wanted[0], v.mean() - wanted[1]]).max() < 1.0
        assert set(np.unique(rectifier.values(depth))) == {0.0, 2.0}
