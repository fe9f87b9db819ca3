"""One encoded image to red, green, blue of 8 bits: JPEG by way of libjpeg-turbo, the rest by way of Pillow."""

from __future__ import annotations

import functools
import io
import struct
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.errors import InputError, MissingExtraError

#: Images of more pixels are refused before their pixels are unpacked: a small file can claim any size.
MOST_PIXELS = 1 << 27
#: A file of one image may take this many bytes.
LONGEST_FILE = 256 << 20

#: What a file begins with, by the name that Pillow has for its format.
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    *((f"P{digit}".encode() + space, "PPM") for digit in "123456" for space in (b"\n", b" ", b"\r", b"\t")),
)
#: What decoders raise on data that is none of theirs, or ends too early.
_BROKEN = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, OverflowError, EOFError, struct.error)
_ORIENTATION = 0x0112


class Header(NamedTuple):
    """What an encoded image says of itself. format : "JPEG", "PNG", ...; height, width : as it is shown."""

    format: str
    height: int
    width: int


def format_of(head: bytes) -> str | None:
    """The format of an image by its first 12 bytes, None for what is no image that is read here."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def decode(data: bytes, *, name: str, size_hint: int | None = None) -> NDArray[np.uint8]:
    """Pixels of an encoded image : (H, W, 3) uint8, contiguous, red first, turned as its EXIF orientation says.

    name : what it is called in errors; size_hint : a JPEG may come smaller than it is, by a factor of the format's own,
    as long as its shorter side keeps this many pixels. 16 bits are cut to 8, grey is repeated, what is transparent is
    laid on white, of several frames the first is taken. Raises InputError for what is no image, ends too early, or
    claims more than MOST_PIXELS.
    """
    kind = _checked_format(data, name)
    try:
        if kind == "JPEG" and (pixels := _decode_jpeg(data, name, size_hint)) is not None:
            return pixels
        return _decode_other(data, kind, name, size_hint)
    except _BROKEN as error:
        raise InputError(f"the {kind} image is damaged or cut short ({_first_line(error)})", path=name) from error


def read_header(data: bytes, *, name: str) -> Header:
    """Format and size of an encoded image, without its pixels; InputError as `decode`, and for a file that is cut."""
    kind = _checked_format(data, name)
    try:
        if kind == "JPEG":
            height, width = _codecs().jpeg_header(data)[:2]
            turned = _jpeg_orientation(data) > 4
        else:
            with _opened(data, kind, name) as image:
                width, height = image.size
                turned = _orientation(image) > 4
    except _BROKEN as error:
        raise InputError(f"the {kind} image is damaged or cut short ({_first_line(error)})", path=name) from error
    _check_size(height, width, name)
    if _is_cut(data, kind):
        raise InputError(f"the {kind} image is damaged or cut short (its end is missing)", path=name)
    return Header(kind, *((width, height) if turned else (height, width)))


def resized(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """An image (H, W, 3) with its shorter side brought to `size` (bicubic, smoothed), then the middle square of it."""
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    if (height, width) == (size, size):
        return pixels
    top, left = (height - shorter) // 2, (width - shorter) // 2
    image = _codecs().from_array(np.ascontiguousarray(pixels))
    middle = image.crop((left, top, left + shorter, top + shorter))
    return np.asarray(middle.resize((size, size), _codecs().bicubic))


class _Codecs(NamedTuple):
    """What is used of the packages that decode."""

    jpeg: Callable[..., NDArray[np.uint8]]
    jpeg_header: Callable[..., tuple[int, int, str, str]]
    open: dict[str, Any]  # by format: makes an image of (file, name); Image.open would only add warnings
    new: Callable[..., Any]
    from_array: Callable[..., Any]
    composite: Callable[..., Any]
    bicubic: Any
    turns: dict[int, Any]  # by EXIF orientation: what brings an image upright


@functools.cache
def _codecs() -> _Codecs:
    try:
        import simplejpeg
    except ImportError:
        raise MissingExtraError("simplejpeg", "train") from None
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("pillow", "train") from None
    Image.init()
    # Pillow warns of damaged metadata, image by image; whoever reads thousands learns of those that have no pixels.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    turn = Image.Transpose
    names = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
    return _Codecs(
        jpeg=simplejpeg.decode_jpeg,
        jpeg_header=functools.partial(simplejpeg.decode_jpeg_header, strict=False),
        open={name: factory for name, (factory, _) in Image.OPEN.items()},
        new=Image.new,
        from_array=Image.fromarray,
        composite=Image.alpha_composite,
        bicubic=Image.Resampling.BICUBIC,
        turns={number: getattr(turn, name) for number, name in enumerate(names, 2)},
    )


def _checked_format(data: bytes, name: str) -> str:
    if not data:
        raise InputError("the file is empty", path=name)
    kind = format_of(data[:12])
    if kind is None:
        raise InputError("it is no image of a known format", path=name)
    return kind


def _check_size(height: int, width: int, name: str) -> None:
    if height < 1 or width < 1:
        raise InputError("the image has no pixels", path=name)
    if height * width > MOST_PIXELS:
        raise InputError(f"the image claims more pixels than are read ({height:,} x {width:,})", path=name)


def _decode_jpeg(data: bytes, name: str, size_hint: int | None) -> NDArray[np.uint8] | None:
    """As `decode`; None for what Pillow knows better: four colours, and data that libjpeg complains of."""
    codecs = _codecs()
    height, width, colours, _ = codecs.jpeg_header(data)
    _check_size(height, width, name)
    if colours in ("CMYK", "YCCK"):
        return None
    least = (
        {"min_height": size_hint, "min_width": size_hint, "min_factor": 2}
        if size_hint and size_hint < min(height, width)
        else {}
    )
    try:
        pixels = codecs.jpeg(data, "RGB", **least)
    except ValueError:
        return None  # it may be whole for all that: Pillow is not put off by stray bytes between its parts
    return _turned_array(pixels, _jpeg_orientation(data))


def _decode_other(data: bytes, kind: str, name: str, size_hint: int | None) -> NDArray[np.uint8]:
    codecs = _codecs()
    with _opened(data, kind, name) as image:
        _check_size(image.size[1], image.size[0], name)
        if kind == "JPEG" and size_hint:
            image.draft(None, (size_hint, size_hint))
        image.load()
        orientation = _orientation(image)
        if image.mode.startswith("I") or image.mode == "F":
            image = codecs.from_array(_eight_bits(np.asarray(image), name))
        upright = image if orientation == 1 else image.transpose(codecs.turns[orientation])
        if upright.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in upright.info:
            upright = upright.convert("RGBA")
            upright = codecs.composite(codecs.new("RGBA", upright.size, "white"), upright)
        return np.array(upright.convert("RGB"))


def _opened(data: bytes, kind: str, name: str) -> Any:
    """An image of Pillow, its pixels not yet unpacked."""
    factory = _codecs().open.get(kind)
    if factory is None:
        raise InputError(f"{kind} images cannot be read by the Pillow that is installed", path=name)
    return factory(io.BytesIO(data), "")


def _eight_bits(values: NDArray, name: str) -> NDArray[np.uint8]:
    """Grey values of 16 bits, (H, W), cut to 8."""
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 0xFFFF:
        raise InputError("its pixels are neither of 8 nor of 16 bits", path=name)
    return (values >> 8).astype(np.uint8)


def _orientation(image: Any) -> int:
    """The EXIF orientation that Pillow finds, 1 to 8; 1 where the EXIF data is damaged, which spoils no pixel."""
    try:
        number = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return 1
    return number if isinstance(number, int) and 1 <= number <= 8 else 1


def _jpeg_orientation(data: bytes) -> int:
    """The EXIF orientation of a JPEG, 1 to 8, 1 where it has none (CIPA DC-008, 4.6.4)."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] not in (0xDA, 0xD9):
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] == 0xE1 and data[place + 4 : place + 10] == b"Exif\0\0":
            return _tiff_orientation(data[place + 10 : place + 2 + length])
        place += 2 + length
    return 1


def _tiff_orientation(tiff: bytes) -> int:
    order: Any = "little" if tiff[:2] == b"II" else "big"
    start = int.from_bytes(tiff[4:8], order)
    for entry in range(int.from_bytes(tiff[start : start + 2], order)):
        place = start + 2 + 12 * entry
        if place + 12 > len(tiff):
            break
        if int.from_bytes(tiff[place : place + 2], order) == _ORIENTATION:
            number = int.from_bytes(tiff[place + 8 : place + 10], order)
            return number if 1 <= number <= 8 else 1
    return 1


def _turned_array(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """(H, W, 3) brought upright."""
    if orientation == 1:
        return pixels
    if orientation > 4:  # 5 to 8 are 1 to 4, mirrored at the diagonal
        pixels = pixels.transpose(1, 0, 2)
    rows, columns = ((1, 1), (1, -1), (-1, -1), (-1, 1))[(orientation - 1) % 4]
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _is_cut(data: bytes, kind: str) -> bool:
    """Whether the mark at the end of a JPEG or PNG is missing from its last bytes (some programs add a little)."""
    tail = data[-(1 << 12) :]
    return (kind == "JPEG" and b"\xff\xd9" not in tail) or (kind == "PNG" and b"IEND" not in tail)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:120] or type(error).__name__
