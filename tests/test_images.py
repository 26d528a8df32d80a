"""Decoding of images: every encoding, byte order, padding and container, and what is refused."""

from __future__ import annotations

import array
import contextlib
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3d_ros.images import (
    ImageError,
    as_color,
    as_depth,
    as_numbers,
    clean_depth,
    decode_compressed,
    decode_image,
    resize_nearest,
    same_aspect,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
QUAD = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
CONTAINERS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "array": lambda raw: array.array("B", raw),
    "ndarray": lambda raw: np.frombuffer(raw, np.uint8),
    "list": list,
    "unaligned": lambda raw: memoryview(b"x" + raw)[1:],
}


def pack(samples: np.ndarray, pad: int = 0, big: bool = False) -> tuple[int, bytes]:
    """Return step and bytes of rows with ``pad`` bytes of rubbish behind each."""
    rows = samples.astype(samples.dtype.newbyteorder(">" if big else "<")).reshape(len(samples), -1)
    raw = rows.view(np.uint8).reshape(len(samples), -1)
    padded = np.hstack([raw, np.full((len(raw), pad), 0xAB, np.uint8)])
    return padded.shape[1], padded.tobytes()


@pytest.mark.parametrize(
    ("encoding", "samples"),
    [
        ("rgb8", QUAD),
        ("bgr8", QUAD[..., ::-1]),
        ("8UC3", QUAD[..., ::-1]),
        ("rgba8", np.dstack([QUAD, np.full((2, 2), 7, np.uint8)])),
        ("bgra8", np.dstack([QUAD[..., ::-1], np.full((2, 2), 7, np.uint8)])),
        ("8UC4", np.dstack([QUAD[..., ::-1], np.full((2, 2), 7, np.uint8)])),
    ],
)
@pytest.mark.parametrize("pad", [0, 5])
def test_colour_comes_out_as_rgb(encoding: str, samples: np.ndarray, pad: int) -> None:
    step, raw = pack(np.ascontiguousarray(samples), pad)
    assert np.array_equal(decode_image(encoding, 2, 2, step, 0, raw), QUAD)


def test_grey_becomes_grey_rgb() -> None:
    grey = decode_image("mono8", 1, 3, 3, 0, bytes([0, 100, 255]))
    assert np.array_equal(as_color(grey), [[[0] * 3, [100] * 3, [255] * 3]])


@pytest.mark.parametrize(
    ("encoding", "red_at"),
    [("bayer_rggb8", (0, 0)), ("bayer_bggr8", (1, 1)), ("bayer_gbrg8", (1, 0)), ("bayer_grbg8", (0, 1))],
)
def test_bayer_patterns_are_told_apart(encoding: str, red_at: tuple[int, int]) -> None:
    samples = np.zeros((8, 8), np.uint8)
    samples[red_at[0] :: 2, red_at[1] :: 2] = 200
    assert decode_image(encoding, 8, 8, 8, 0, samples.tobytes())[4, 4].tolist() == [200, 0, 0]


@pytest.mark.parametrize(("encoding", "order"), [("uyvy", 1), ("yuv422", 1), ("yuyv", -1), ("yuv422_yuy2", -1)])
def test_packed_yuv_red(encoding: str, order: int) -> None:
    red = np.zeros((2, 4, 2), np.uint8)
    red[..., 1], red[:, 0::2, 0], red[:, 1::2, 0] = 82, 90, 240  # U Y V Y
    r, g, b = decode_image(encoding, 2, 4, 8, 0, np.ascontiguousarray(red[..., ::order]).tobytes())[1, 1]
    assert r > 250 and g < 5 and b < 5


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    pad=st.integers(0, 7),
    big=st.booleans(),
    container=st.sampled_from(sorted(CONTAINERS)),
    encoding=st.sampled_from(["16UC1", "mono16", "32FC1", "rgb8", "mono8"]),
    cut=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_layout_is_read_exactly(
    height: int, width: int, pad: int, big: bool, container: str, encoding: str, cut: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    if encoding == "32FC1":
        samples = rng.normal(size=(height, width)).astype(np.float32)
    elif encoding in ("16UC1", "mono16"):
        samples = rng.integers(0, 65536, (height, width), dtype=np.uint16)
    else:
        samples = rng.integers(0, 256, (height, width, 3)[: 3 if encoding == "rgb8" else 2], dtype=np.uint8)
    step, raw = pack(samples, pad, big)
    raw = raw[: len(raw) - pad] if cut else raw  # the last row's padding may be missing
    image = decode_image(encoding, height, width, step, big, CONTAINERS[container](raw))
    assert image.dtype == samples.dtype.newbyteorder("=") and image.flags.c_contiguous and image.flags.aligned
    assert np.array_equal(image, samples)


def test_what_needs_no_conversion_is_not_copied() -> None:
    raw = bytearray(4 * 6 * 3)
    assert np.shares_memory(decode_image("rgb8", 4, 6, 18, 0, raw), np.frombuffer(raw, np.uint8))
    assert np.shares_memory(decode_image("16UC1", 4, 9, 18, 0, raw), np.frombuffer(raw, np.uint8))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("rgb16", 1, 1, 6, 0, bytes(6)), "'rgb16' is not supported"),
        (("", 1, 1, 1, 0, bytes(1)), "supported are rgb8"),
        (("rgb8", 0, 4, 12, 0, b""), "no pixels: 4x0"),
        (("rgb8", 2, 2, 5, 0, bytes(12)), "takes 6 bytes, but step is 5"),
        (("rgb8", 2, 2, 6, 0, bytes(11)), "needs 12 bytes, but has 11"),
        (("16UC1", 2, 2, 4, 0, b""), "needs 8 bytes, but has 0"),
        (("mono8", 1, 2, 2, 0, [1, 999]), "not bytes"),
        (("mono8", 1, 2, 2, 0, None), "not bytes"),
        (("uyvy", 1, 3, 6, 0, bytes(6)), "3x1 pixels can't be uyvy"),
    ],
)
def test_refusals_name_the_value(fields: tuple, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        decode_image(*fields)


def test_an_unset_step_means_no_padding() -> None:
    assert decode_image("mono8", 2, 2, 0, 0, bytes([1, 2, 3, 4])).tolist() == [[1, 2], [3, 4]]


def encode(extension: str, samples: np.ndarray) -> bytes:
    return cv2.imencode(extension, samples)[1].tobytes()


def test_compressed_colour_is_rgb() -> None:
    red = np.full((16, 16, 3), RED, np.uint8)
    assert np.array_equal(decode_compressed("rgb8; png compressed bgr8", encode(".png", red[..., ::-1])), red)
    jpeg = decode_compressed("rgb8; jpeg compressed bgr8", encode(".jpg", np.ascontiguousarray(red[..., ::-1])))
    assert np.abs(jpeg.astype(int) - red).max() < 6
    with_alpha = np.dstack([red[..., ::-1], np.full((16, 16), 9, np.uint8)])
    assert np.array_equal(decode_compressed("png", encode(".png", with_alpha)), red)


def test_compressed_depth() -> None:
    depth = np.array([[0, 1000], [2500, 65535]], np.uint16)
    png = encode(".png", depth)
    assert np.array_equal(decode_compressed("16UC1; png compressed", png), depth)
    assert np.array_equal(decode_compressed("16UC1; compressedDepth png", bytes(12) + png), depth)


def test_compressed_float_depth_is_dequantised() -> None:
    a, b = 1000.0, 50.0
    metres = np.array([[0.5, 1.0], [2.0, 4.0]], np.float32)
    quantised = np.rint(a / metres + b).astype(np.uint16)
    quantised[0, 0] = 0
    data = struct.pack("<iff", 0, a, b) + encode(".png", quantised)
    depth = decode_compressed("32FC1; compressedDepth png", data)
    assert depth.dtype == np.float32 and depth[0, 0] == 0
    assert np.allclose(depth.reshape(-1)[1:], metres.reshape(-1)[1:], rtol=0.01)


@pytest.mark.parametrize(
    ("image_format", "data", "words"),
    [
        ("jpeg", b"", "0 bytes"),
        ("jpeg", b"not an image", "12 bytes with the format 'jpeg'"),
        ("16UC1; compressedDepth rvl", bytes(40), "rvl is not supported"),
        ("16UC1; compressedDepth png", bytes(5), "holds no image"),
        ("16UC1; compressedDepth png", bytes(12) + encode(".png", QUAD), "not one 16-bit channel"),
        ("png", encode(".png", QUAD.astype(np.uint16)), "uint16"),
    ],
)
def test_compressed_refusals(image_format: str, data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        decode_compressed(image_format, data)


def test_a_truncated_jpeg_is_refused_or_read_but_never_raises_otherwise() -> None:
    data = encode(".jpg", np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    for length in range(0, len(data), 97):
        with contextlib.suppress(ImageError):
            assert decode_compressed("jpeg", data[:length]).shape == (48, 64, 3)


def test_kinds_of_images_are_not_mixed_up() -> None:
    colour, depth = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint16)
    with pytest.raises(ImageError, match="no colour image"):
        as_color(depth)
    with pytest.raises(ImageError, match="no depth image: use 16UC1 or 32FC1"):
        as_depth(colour)
    with pytest.raises(ImageError, match="no depth image"):
        as_depth(np.zeros((2, 2), np.uint8))
    with pytest.raises(ImageError, match="use mono16"):
        as_numbers(np.zeros((2, 2), np.float32))
    assert as_numbers(np.full((2, 2), 3, np.uint8)).dtype == np.uint16


def test_depth_in_millimetres() -> None:
    raw = np.array([[0, 1, 149, 150, 151, 4999, 5000, 5001, 65534, 65535]], np.uint16)
    expected = [0, 0, 0, 0.15, 0.151, 4.999, 5, 0, 0, 0]
    assert np.allclose(clean_depth(raw, 1000.0, 0.15, 5.0), [expected])
    # 65535 means "too far" to many cameras, so it is unknown however far one looks.
    assert np.allclose(clean_depth(raw, 1000.0, 0.0, 100.0)[0, -2:], [65.534, 0])
    assert np.allclose(clean_depth(raw, 5000.0, 0.0, 100.0)[0, 5:7], [0.9998, 1])


def test_depth_in_metres() -> None:
    raw = np.array([[np.nan, np.inf, -np.inf, -1, 0, 0.1, 0.15, 1, 5, 5.1, 65535]], np.float32)
    assert np.allclose(clean_depth(raw, 1000.0, 0.15, 5.0), [[0, 0, 0, 0, 0, 0, 0.15, 1, 5, 0, 0]])
    assert clean_depth(np.array([[-1e-9, 0.0]], np.float32), 1000.0, 0.0, 5.0).tolist() == [[0, 0]]


@given(
    low=st.floats(0, 2),
    span=st.floats(0.1, 60),
    scale=st.sampled_from([1000.0, 5000.0, 256.0]),
    seed=st.integers(0, 100),
)
def test_integer_depth_agrees_with_the_plain_rule(low: float, span: float, scale: float, seed: int) -> None:
    raw = np.random.default_rng(seed).integers(0, 65536, (5, 40), dtype=np.uint16)
    metres = raw / scale
    edge = (np.abs(metres - low) < 1e-6) | (np.abs(metres - low - span) < 1e-6)
    expected = np.where((raw > 0) & (raw < 65535) & (metres >= low) & (metres <= low + span), metres, 0)
    depth = clean_depth(raw, scale, low, low + span)
    assert depth.dtype == np.float32
    assert np.allclose(depth[~edge], expected[~edge], rtol=1e-6)


@given(
    values=st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=40),
)
def test_float_depth_is_always_clean(values: list[float]) -> None:
    depth = clean_depth(np.array([values], np.float32), 1000.0, 0.15, 5.0)
    assert np.isfinite(depth).all()
    assert ((depth == 0) | ((depth >= np.float32(0.15)) & (depth <= 5))).all()


def test_resizing_mixes_no_values() -> None:
    image = np.array([[1, 9], [20, 300]], np.uint16)
    doubled = resize_nearest(image, 4, 4)
    assert np.array_equal(doubled, np.kron(image, np.ones((2, 2), np.uint16)))
    assert resize_nearest(image, 2, 2) is image
    assert same_aspect((480, 640), (240, 320)) and same_aspect((360, 640), (240, 427))
    assert not same_aspect((480, 640), (480, 848))


def test_agrees_with_cv_bridge() -> None:
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge comes with an installed ROS only")
    sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="needs ROS messages")
    rng = np.random.default_rng(3)
    for encoding, shape, dtype in (
        ("rgb8", (6, 8, 3), np.uint8),
        ("bgr8", (6, 8, 3), np.uint8),
        ("rgba8", (6, 8, 4), np.uint8),
        ("mono8", (6, 8), np.uint8),
        ("16UC1", (6, 8), np.uint16),
        ("32FC1", (6, 8), np.float32),
    ):
        samples = rng.integers(0, 255, shape).astype(dtype)
        step, raw = pack(samples)
        msg = sensor_msgs.Image(height=6, width=8, encoding=encoding, step=step, data=raw)
        wanted = "rgb8" if len(shape) == 3 else "passthrough"
        theirs = cv_bridge.CvBridge().imgmsg_to_cv2(msg, wanted)
        assert np.array_equal(decode_image(encoding, 6, 8, step, 0, msg.data), theirs), encoding
