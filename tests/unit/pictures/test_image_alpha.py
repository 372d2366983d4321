"""A fourth byte of zeros: no transparency in a bitmap, and all of it elsewhere."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from fo1agent.pictures.image import ImageLimits, load_image
from tests.small_picture import PIXELS, encode, is_read


def bmp(header: int, alpha: int) -> bytes:
    """A BMP of 32 bits a pixel, whose header says that the fourth byte is alpha, if it is long enough to say that."""
    rows = np.dstack([PIXELS[..., ::-1], np.full(PIXELS.shape[:2], alpha, np.uint8)])[::-1].tobytes()
    head = struct.pack("<IiiHHIIiiII", header, 50, 30, 1, 32, 3 if header > 40 else 0, len(rows), 0, 0, 0, 0)
    if header > 40:
        head = (head + struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)).ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


@pytest.mark.parametrize("header", [40, 56, 108, 124])
@pytest.mark.parametrize("alpha", [0, 255])
def test_a_bitmap_whose_fourth_byte_is_zero_throughout_is_opaque(header: int, alpha: int) -> None:
    assert is_read(bmp(header, alpha))
    assert is_read(Image.open(io.BytesIO(bmp(header, alpha))))


def test_a_bitmap_with_some_transparency_has_it() -> None:
    data = bytearray(bmp(124, 0))
    data[-1] = 255  # of the last pixel of the first row
    white = np.full_like(PIXELS, 255)
    white[0, -1] = PIXELS[0, -1]
    assert is_read(bytes(data), white)


@pytest.mark.parametrize("format", ["TGA", "DIB"])
def test_other_bitmaps_too(format: str) -> None:
    clear = Image.fromarray(np.dstack([PIXELS, np.zeros((30, 50), np.uint8)]))
    data = encode(clear, "TGA") if format == "TGA" else bmp(124, 0)[14:]
    limits = ImageLimits(formats=(format,))
    assert np.array_equal(np.asarray(load_image(data, limits).pixels), PIXELS)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_another_picture_that_is_transparent_throughout_is_white(format: str) -> None:
    clear = Image.fromarray(np.dstack([PIXELS, np.zeros((30, 50), np.uint8)]))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    assert is_read(encode(clear, format, **options), np.full_like(PIXELS, 255))
    assert is_read(clear, np.full_like(PIXELS, 255))
