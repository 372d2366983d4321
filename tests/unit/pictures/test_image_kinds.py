"""Files that are not read are called what they are; formats that are read if something is installed."""

from __future__ import annotations

import base64
import logging
import struct
import sys
import types
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from fo1agent.errors import ImageError
from fo1agent.pictures import image as intake
from fo1agent.pictures.filekinds import kind_of
from fo1agent.pictures.image import ImageLimits, load_image
from tests.small_picture import encode, is_read

PNG = encode()


def media(own: bytes, *others: bytes) -> bytes:
    """The beginning of an ISO media file."""
    return struct.pack(">I", 16 + 4 * len(others)) + b"ftyp" + own + bytes(4) + b"".join(others) + bytes(64)


CONVERT = "which is not read. Convert it to PNG or JPEG"
KINDS = {
    "heic": (media(b"heic"), "looks like HEIC, which is not read. .*pip install pillow-heif"),
    **{
        brand: (media(brand.encode()), "looks like HEIC,")
        for brand in ("heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs")
    },
    "mif1": (media(b"mif1"), "looks like HEIF, which is not read. .*pip install pillow-heif"),
    "msf1": (media(b"msf1"), "looks like HEIF,"),
    "mif1 of HEIC": (media(b"mif1", b"mif1", b"heic"), "looks like HEIC,"),
    "mif1 of AVIF": (media(b"mif1", b"miaf", b"avif"), "looks like AVIF, damaged"),
    "avif": (media(b"avif"), "looks like AVIF, damaged"),
    "avis": (media(b"avis"), "looks like AVIF, damaged"),
    "CR3": (media(b"crx "), r"looks like a camera's raw file \(CR3\), which is not read. Develop it"),
    "MP4": (media(b"isom", b"mp42"), r"looks like a video \(MP4\), which is not read. Take a frame"),
    "MP4 that a phone made": (media(b"mp42", b"mif1", b"heic"), r"looks like a video \(MP4\)"),
    "MOV": (media(b"qt  "), r"looks like a video \(QuickTime\)"),
    "M4A": (media(b"M4A "), r"looks like sound \(M4A\), no picture"),
    "JPEG XL": (b"\xff\x0a" + bytes(40), f"looks like JPEG XL, {CONVERT}"),
    "JPEG XL in a container": (b"\0\0\0\x0cJXL \r\n\x87\n" + media(b"jxl "), "looks like JPEG XL,"),
    "JPEG 2000": (encode(format="JPEG2000"), f"looks like JPEG 2000, {CONVERT}"),
    "JPEG 2000 without a container": (encode(format="JPEG2000", no_jp2=True), "looks like JPEG 2000,"),
    "JPEG XR": (b"II\xbc\1" + bytes(40), "looks like JPEG XR,"),
    "Photoshop": (b"8BPS\0\1" + bytes(40), r"looks like Photoshop \(PSD\),"),
    "ICO": (encode(format="ICO"), r"looks like an icon \(ICO\),"),
    "TGA": (encode(format="TGA"), "looks like TGA,"),
    "PPM": (encode(format="PPM"), f"looks like PPM, {CONVERT}"),
    "DDS": (b"DDS " + bytes(200), "looks like DDS,"),
    "BigTIFF": (b"II+\0\x08\0\0\0" + bytes(40), "looks like BigTIFF,"),
    "OpenEXR": (b"v/1\1" + bytes(40), "looks like OpenEXR,"),
    "DICOM": (bytes(128) + b"DICM", "looks like DICOM,"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), r"raw file \(CR2\)"),
    "RAF": (b"FUJIFILMCCD-RAW " + bytes(40), r"raw file \(RAF\)"),
    "a PNG of iOS": (PNG[:8] + b"\0\0\0\4CgBI" + bytes(8) + PNG[8:], "iOS"),
    "PDF": (b"%PDF-1.7\n", "looks like PDF, which is not read. Render a page"),
    "SVG": (b"<?xml version='1.0'?>\n<!-- a\ncomment -->\n<svg xmlns='x'/>", "looks like SVG,"),
    "SVG with a mark of UTF-8": (b"\xef\xbb\xbf<svg/>", "looks like SVG,"),
    "a saved page": (
        b"\n<!-- saved from -->\n<html lang=en>",
        r"looks like a web page \(HTML\), no picture. The address",
    ),
    "a page with a mark of UTF-8": (b"\xef\xbb\xbf<!DOCTYPE html>", r"web page \(HTML\)"),
    "a long page of Cyrillic": (("<!doctype html>" + "я" * 5000).encode(), r"web page \(HTML\)"),
    "XML": (b"<?xml version='1.0'?><a/>", "looks like XML, no picture"),
    "JSON": (b'{"error": "not found"}', "looks like JSON, no picture. A server's error"),
    "text": (b"hello\n", "looks like text, no picture"),
    "text of Windows": ("hello".encode("utf-16"), r"looks like text \(UTF-16\), no picture"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
    "zeros": (bytes(5000), "a file of zeros, no picture. It was not written, or not fetched, to its end"),
    "base64": (base64.b64encode(PNG), "looks like base64, no picture. .* string with data:image/png;base64,"),
    "base64 in lines": (base64.encodebytes(PNG), "looks like base64,"),
    "a data URL": (b"data:image/png;base64,iVBORw0KGgo=", "looks like the text of a data URL,"),
    "WebM": (b"\x1aE\xdf\xa3" + bytes(40), r"looks like a video \(WebM"),
    "AVI": (b"RIFF\0\0\0\0AVI LIST", r"looks like a video \(AVI\)"),
    "MP3": (b"ID3\4" + bytes(30), r"looks like sound \(MP3\), no picture"),
    "DOCX": (b"PK\3\4" + bytes(40), "looks like ZIP, or a document packed as one, no picture"),
    "SVG packed": (b"\x1f\x8b\x08" + bytes(20), "looks like gzip, no picture. Unpack it"),
    "NumPy": (b"\x93NUMPY\1\0v\0{", "pass the array"),
    "noise": (np.random.default_rng(1).bytes(500), "no picture that can be recognised"),
    "text with a zero in it": (b"hello\0there", "no picture that can be recognised"),
}


@pytest.mark.parametrize(("data", "says"), KINDS.values(), ids=KINDS)
def test_a_file_that_is_not_read_is_called_what_it_is(data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says) as caught:
        load_image(data)
    message = str(caught.value)
    assert "Formats read: JPEG, PNG" in message
    assert message.isprintable()
    assert len(message) < 400


def test_a_page_of_text_is_not_taken_for_base64() -> None:
    assert kind_of(
        b"It was a dark and stormy night the rain fell in torrents except at occasional intervals"
    ) == kind_of(b"text")


def test_a_format_left_out_of_the_limits_is_not_called_damaged() -> None:
    with pytest.raises(ImageError, match=r"looks like GIF, which is not read. Formats read: PNG\."):
        load_image(encode(format="GIF"), ImageLimits(formats=("PNG",)))


def test_avif_is_read() -> None:
    flat = Image.new("RGB", (64, 48), (200, 30, 40))
    read = np.asarray(load_image(encode(flat, "AVIF", quality=95)).pixels).astype(int)
    assert read.shape == (48, 64, 3)
    assert np.abs(read - [200, 30, 40]).max() < 8
    with pytest.raises(ImageError, match="max_side is 32"):
        load_image(encode(flat, "AVIF"), ImageLimits(max_side=32))


def test_heic_is_read_where_pillow_heif_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class HeifImageFile(ImageFile.ImageFile):
        """Stands for the plugin's: opens whatever it is given as one red pixel."""

        format = "HEIF"

        def _open(self) -> None:
            self._size, self._mode = (1, 1), "RGB"

        def load(self) -> Any:
            self.im = Image.new("RGB", (1, 1), "red").im
            return self.im

    plugin: Any = types.ModuleType("pillow_heif")
    plugin.HeifImageFile = HeifImageFile
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    plugin.__spec__ = types.SimpleNamespace()
    for registry in ("OPEN", "ID"):
        monkeypatch.setattr(Image, registry, getattr(Image, registry).copy())
    intake.formats_read.cache_clear()
    try:
        assert intake.formats_read()[-1] == "HEIF"
        assert load_image(media(b"heic")).pixels.getpixel((0, 0)) == (255, 0, 0)
        with pytest.raises(ImageError, match="looks like HEIC, which is not read"):
            load_image(media(b"heic"), ImageLimits(formats=("PNG",)))
    finally:
        intake.formats_read.cache_clear()


def test_the_preview_in_a_raw_file_is_not_taken_for_the_picture() -> None:
    tags = {254: 1, 330: 8}  # a smaller copy; where the picture is
    with pytest.raises(ImageError, match="camera's raw file, of which only a preview of 50 x 30 pixels"):
        load_image(encode(format="TIFF", tiffinfo=tags))
    assert is_read(encode(format="TIFF", tiffinfo={254: 0, 330: 8}))
    assert is_read(encode(format="TIFF", tiffinfo={254: 1}))


def test_a_broken_tiff_writes_nothing_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    broken = bytearray(encode(format="TIFF"))
    broken[broken.index(struct.pack("<HHI", 277, 3, 1)) + 8] = 200  # samples per pixel
    handlers, logging.getLogger().handlers = logging.getLogger().handlers, []
    try:
        with pytest.raises(ImageError):
            load_image(bytes(broken))
    finally:
        logging.getLogger().handlers = handlers
    assert capfd.readouterr().err == ""
