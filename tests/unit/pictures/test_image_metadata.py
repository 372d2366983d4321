"""Metadata that is long, damaged or packed to hurt keeps no picture from being read, and costs nothing."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import DataError, ImageError
from fo1agent.pictures.image import load_image
from fo1agent.pictures.metadata import without_metadata
from fo1agent.trainers.data.formats.fields import picture_size
from tests.small_picture import PICTURE, PIXELS, encode, is_read

PNG, JPEG = encode(), encode(format="JPEG")


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def png_with(*chunks: bytes, after: bool = False) -> bytes:
    """The picture with more chunks before, or after, its pixels."""
    at = len(PNG) - 12 if after else PNG.index(b"IDAT") - 4
    return PNG[:at] + b"".join(chunks) + PNG[at:]


LONG = bytes(2_000_000)
ODD_CHUNKS = {
    "long text, packed": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LONG)),
    "long text": chunk(b"tEXt", b"Comment\0" + b"a" * 2_000_000),
    "long international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LONG)),
    "long XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LONG)),
    "long EXIF as text": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(LONG)),
    "a long colour profile": chunk(b"iCCP", b"p\0\0" + zlib.compress(LONG)),
    "a broken colour profile": chunk(b"iCCP", b"p\0\0not packed"),
    "an unknown packing": chunk(b"zTXt", b"Raw profile type exif\0\7" + zlib.compress(b"x")),
    "broken packing": chunk(b"zTXt", b"Raw profile type exif\0\0" + b"x"),
    "XMP packed in an unknown way": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\7\0\0" + zlib.compress(b"x")),
    "a wrong checksum": chunk(b"tEXt", b"Comment\0hi", crc=1),
    "a wrong checksum of EXIF": chunk(b"eXIf", b"II*\0", crc=1),
    "a short gamma": chunk(b"gAMA", b"\0"),
    "short dots per inch": chunk(b"pHYs", b"\0"),
    "short colours": chunk(b"cHRM", b"\0"),
    "short transparency": chunk(b"tRNS", b"\0"),
    "a broken animation": chunk(b"acTL", b"\0\0\0\1"),
    "frames in the wrong order": chunk(b"acTL", bytes(7) + b"\2") + chunk(b"fdAT", bytes(20)),
    "an unknown chunk": chunk(b"prVt", b"x" * 99),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("odd", ODD_CHUNKS.values(), ids=ODD_CHUNKS)
def test_metadata_of_a_png_does_not_keep_it_from_being_read(odd: bytes, after: bool) -> None:
    assert is_read(png_with(odd, after=after))


@pytest.mark.parametrize(
    "body",
    [
        b"ICC_PROFILE\0",
        b"ICC_PROFILE\0\1\2" + bytes(60_000),
        b"MPF\0II*\0\xff\xff\xff\xff",
        b"FPXR\0",
        b"",
    ],
)
@pytest.mark.parametrize("marker", [0xE0, 0xE2, 0xED, 0xEE, 0xFE])
def test_metadata_of_a_jpeg_does_not_keep_it_from_being_read(marker: int, body: bytes) -> None:
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
    assert is_read(JPEG[:2] + segment + JPEG[2:], np.asarray(Image.open(io.BytesIO(JPEG))))


@pytest.mark.parametrize("body", [b"JFIF\0", b"Adobe\0"])
def test_a_short_header_of_a_jpeg_is_passed_over(body: bytes) -> None:
    segment = bytes([0xFF, 0xEE if body[:1] == b"A" else 0xE0]) + struct.pack(">H", len(body) + 2) + body
    assert is_read(JPEG[:2] + segment + JPEG[2:], np.asarray(Image.open(io.BytesIO(JPEG))))


def test_how_a_picture_is_turned_is_still_known() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = PICTURE.transpose(Image.Transpose.ROTATE_90)
    turned = encode(stored, exif=exif)
    assert is_read(turned)
    assert np.asarray(load_image(encode(stored, "JPEG", exif=exif)).pixels).shape == PIXELS.shape
    at = encode(stored).index(b"IDAT") - 4
    packed = zlib.compress(b"\nexif\n      38\n" + exif.tobytes().hex().encode())
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for told in (
        chunk(b"zTXt", b"Raw profile type exif\0\0" + packed),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)),
    ):
        plain = encode(stored)
        assert is_read(plain[:at] + told + plain[at:])


def test_transparency_and_the_first_frame_are_still_known() -> None:
    opaque = Image.new("RGB", (2, 1), (1, 2, 3))
    opaque.putpixel((0, 0), (9, 9, 9))
    assert is_read(encode(opaque, transparency=(1, 2, 3)), np.array([[[9, 9, 9], [255, 255, 255]]]))
    frames = [Image.new("RGBA", (8, 6), colour) for colour in ("red", "#00ff0080", "blue")]
    animated = encode(frames[0], save_all=True, append_images=frames[1:], default_image=False)
    assert b"fdAT" in animated
    assert is_read(animated, np.full((6, 8, 3), [255, 0, 0]))


@pytest.mark.parametrize(
    "data", [PNG, JPEG, PNG[:40], PNG[:-12], JPEG[:30], JPEG + b"more", PNG + b"more", b"", b"GIF"]
)
def test_nothing_is_lost_but_metadata(data: bytes) -> None:
    assert without_metadata(data) in (data, data.removesuffix(b"more"))


def test_metadata_that_unpacks_to_gigabytes_costs_nothing() -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 22)) for _ in range(64)) + packer.flush()  # 256 MB
    path = "bomb.png"
    program = """
import resource, sys
from fo1agent.pictures.image import load_image
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_image(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    for head in (b"zTXtRaw profile type exif\0\0", b"iTXtXML:com.adobe.xmp\0\1\0\0\0", b"iCCPp\0\0"):
        data = png_with(chunk(head[:4], head[4:] + bomb))
        run = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=False)
        assert run.returncode == 0, (path, run.stderr)
        assert int(run.stdout) < 30_000  # KiB


@pytest.mark.parametrize(
    "data",
    [
        png_with(chunk(b"tEXt", b"") * 200_001),
        JPEG[:2] + b"\xff\xe2\0\2" * 200_001 + JPEG[2:],
    ],
    ids=["PNG", "JPEG"],
)
def test_a_picture_of_parts_without_number_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="more than 200000"):
        load_image(data)


def test_training_takes_the_same_pictures(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_with(ODD_CHUNKS["long text, packed"]))
    assert picture_size(path) == (50, 30)
    assert picture_size(io.BytesIO(path.read_bytes())) == (50, 30)
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(DataError, match=r"x\.png is no picture that can be read: .*looks like HEIC"):
        picture_size(path)
