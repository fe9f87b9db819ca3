"""Images of every kind become red, green, blue of 8 bits; what is none is said to be none."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from tdtool.data import image_decode
from tdtool.data.image_decode import decode, format_of, read_header, resized
from tdtool.data.planted_shapes import png
from tdtool.errors import InputError
from tests.data.image_files import encoded, jpeg, pixels, smooth

#: As decode sets it for a whole process; pytest forgets that with each test.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")
EXACT = ("PNG", "BMP", "PPM", "TIFF")


@pytest.mark.parametrize("kind", EXACT)
def test_lossless_files_come_back(kind: str) -> None:
    values = pixels()
    data = encoded(Image.fromarray(values), kind)
    found = decode(data, name="x")
    np.testing.assert_array_equal(found, values)
    assert found.flags.c_contiguous
    assert read_header(data, name="x") == (kind, 5, 7)


def test_our_png_is_what_others_read() -> None:
    values = pixels(6, 11)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(values)))), values)


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_jpeg_is_close(settings: dict[str, object]) -> None:
    values = smooth(24, 40)
    found = decode(jpeg(values, **settings), name="x")
    assert found.shape == (24, 40, 3)
    assert np.abs(found.astype(int) - values).max() <= 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(smooth(16, 40)), kind, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    found = decode(data, name="x")
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).max() <= 2
    assert read_header(data, name="x")[1:] == upright.shape[:2]


def test_exif_that_is_damaged_spoils_nothing() -> None:
    data = jpeg(smooth(16, 24))
    for tiff in (
        b"",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x63\0\0",
    ):
        app1 = b"Exif\0\0" + tiff
        whole = data[:2] + b"\xff\xe1" + struct.pack(">H", len(app1) + 2) + app1 + data[2:]
        assert decode(whole, name="x").shape == (16, 24, 3)


def test_grey_is_repeated_and_16_bits_are_cut() -> None:
    grey = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(grey), "PNG"), name="x"), np.stack([grey] * 3, -1))
    deep = (grey.astype(np.uint16) << 8) + 91
    for kind in ("PNG", "TIFF"):
        found = decode(encoded(Image.fromarray(deep), kind), name="x")
        np.testing.assert_array_equal(found, np.stack([grey] * 3, -1))
    one = Image.fromarray(grey > 100)
    np.testing.assert_array_equal(decode(encoded(one, "PNG"), name="x")[..., 1], np.where(grey > 100, 255, 0))
    assert decode(jpeg(grey), name="x").shape == (5, 7, 3)


def test_colour_of_16_bits_is_cut() -> None:
    deep = np.random.default_rng(1).integers(0, 1 << 16, (3, 4, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    found = decode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks), name="x")
    np.testing.assert_array_equal(found, (deep >> 8).astype(np.uint8))


def test_transparent_parts_are_white() -> None:
    values = np.concatenate([pixels(4, 6), np.array([[[0], [255], [51], [0], [255], [102]]] * 4, np.uint8)], axis=2)
    shown = values[..., :3].astype(float) * (values[..., 3:] / 255) + 255 - values[..., 3:]
    found = decode(encoded(Image.fromarray(values), "PNG"), name="x")
    assert np.abs(found - shown).max() <= 1
    palette = Image.fromarray(pixels(4, 6)).quantize(5)
    np.testing.assert_array_equal(decode(encoded(palette, "PNG"), name="x"), np.asarray(palette.convert("RGB")))
    clear = decode(encoded(palette, "PNG", transparency=int(np.asarray(palette)[1, 2])), name="x")
    np.testing.assert_array_equal(clear[1, 2], [255, 255, 255])
    gif = decode(encoded(palette, "GIF"), name="x")
    np.testing.assert_array_equal(gif, np.asarray(palette.convert("RGB")))


def test_four_inks_become_three_colours() -> None:
    inks = np.zeros((8, 12, 4), np.uint8)
    inks[:, 6:] = [255, 0, 0, 0]  # cyan alone
    found = decode(encoded(Image.fromarray(inks, mode="CMYK"), "JPEG", quality=100), name="x")
    assert found[4, 2].min() > 245
    assert found[4, 9, 0] < 10
    assert found[4, 9, 1:].min() > 245


def test_a_jpeg_may_come_smaller_but_not_too_small() -> None:
    data = jpeg(smooth(400, 640))
    assert decode(data, name="x", size_hint=100).shape == (100, 160, 3)
    assert decode(data, name="x", size_hint=130).shape[0] >= 130
    assert decode(data, name="x", size_hint=130).shape[0] < 400
    assert decode(data, name="x", size_hint=500).shape == (400, 640, 3)


def test_resized_keeps_the_middle() -> None:
    values = np.zeros((6, 20, 3), np.uint8)
    values[:, 7:13] = 200
    np.testing.assert_array_equal(resized(values, 3), np.full((3, 3, 3), 200))
    same = pixels(9, 9)
    assert resized(same, 9) is same


def test_damage_is_told() -> None:
    good = {kind: encoded(Image.fromarray(smooth(40, 30)), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF")}
    for kind, data in good.items():
        assert format_of(data[:12]) == kind
        with pytest.raises(InputError, match="damaged or cut short"):
            decode(data[: len(data) // 2], name="half")
        with pytest.raises(InputError, match=r"damaged or cut short|no pixels"):
            decode(data[:14], name="hardly any")
    for kind in ("JPEG", "PNG"):
        with pytest.raises(InputError, match="its end is missing"):
            read_header(good[kind][:-15], name="cut")
    for function in (decode, read_header):
        with pytest.raises(InputError, match="the file is empty") as caught:
            function(b"", name="a/b.jpg")
        assert caught.value.path == "a/b.jpg"
        with pytest.raises(InputError, match="no image of a known format"):
            function(b"%!PS-Adobe-3.0 EPSF-3.0\n", name="x")


def test_stray_bytes_in_a_jpeg_are_no_damage() -> None:
    data = jpeg(smooth(16, 24))
    start_of_scan = data.index(b"\xff\xda")
    stray = data[:start_of_scan] + b"\0\0\0" + data[start_of_scan:]
    np.testing.assert_array_equal(decode(stray, name="x"), decode(data, name="x"))
    np.testing.assert_array_equal(decode(data + b"appended", name="x"), decode(data, name="x"))


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    for function in (decode, read_header):
        with pytest.raises(InputError, match=r"claims more pixels than are read \(60,000 x 60,000\)"):
            function(bomb, name="x")
    large = jpeg(smooth(16, 24))
    place = large.index(b"\xff\xc0") + 5
    with pytest.raises(InputError, match="more pixels than are read"):
        decode(large[:place] + struct.pack(">HH", 60_000, 60_000) + large[place + 4 :], name="x")


def test_no_random_bytes_get_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done to a file, it decodes or is an InputError; never another error, never a warning."""
    monkeypatch.setattr(image_decode, "MOST_PIXELS", 1 << 16)
    draw = np.random.default_rng(3)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        data = np.frombuffer(encoded(Image.fromarray(smooth(24, 30)), kind), np.uint8)
        for _ in range(60):
            changed = data.copy()
            places = draw.integers(2, min(len(data), 300), 3)
            changed[places] = draw.integers(0, 256, 3)
            try:
                found = decode(changed.tobytes(), name="x")
            except InputError:
                continue
            assert found.dtype == np.uint8
            assert found.ndim == 3
