"""One intake: the same picture through every door, every kind of pixel, every way to be broken."""

import base64
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import ImageError, InputError
from fo1agent.pictures.image import ImageLimits, LoadedImage, load_image

RNG = np.random.default_rng(7)
# Left and right, top and bottom differ, and it is not square, so a turn shows.
PIXELS = RNG.integers(0, 256, (30, 50, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def encode(image: Image.Image = PICTURE, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def loaded(source, **limits) -> np.ndarray:
    return np.asarray(load_image(source, ImageLimits(**limits)).pixels)


# Every door.


def test_every_door_gives_the_same_picture_and_id(tmp_path):
    data = encode()
    path = tmp_path / "a picture.png"
    path.write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    doors = {
        str(path): str(path),
        path: str(path),
        data: "bytes",
        url: "data URL",
        url.replace("=", "%3D").replace("+", "%2B"): "data URL",
    }
    sources = [(source, name) for source, name in doors.items()]
    sources += [
        (bytearray(data), "bytes"),
        (memoryview(data), "bytes"),
        (io.BytesIO(data), "file"),
        (PICTURE, "PIL image"),
        (Image.open(path), "PIL image"),
        (PIXELS, "array"),
    ]
    for source, name in sources:
        image = load_image(source)
        assert np.array_equal(np.asarray(image.pixels), PIXELS)
        assert (image.id, image.source) == (load_image(PICTURE).id, name)
        assert (image.width, image.height, image.size_hw, image.pixels.mode) == (50, 30, (30, 50), "RGB")


def test_the_id_is_the_content():
    image = load_image(PICTURE)
    assert image.id.startswith("img_")
    assert len(image.id) == len("img_3fa9c1d2")
    assert load_image(PIXELS.reshape(50, 30, 3)).id != image.id  # the same bytes in another shape
    brighter = PIXELS.copy()
    brighter[0, 0, 0] ^= 1
    assert load_image(brighter).id != image.id


def test_the_id_is_stable_across_releases():
    assert load_image(np.zeros((2, 3, 3), dtype=np.uint8)).id == "img_543d80cb"


def test_a_loaded_image_is_returned_as_it_is():
    image = load_image(PICTURE)
    assert load_image(image) is image
    with pytest.raises(ImageError, match="max_side is 49"):
        load_image(image, ImageLimits(max_side=49))


def test_the_source_is_neither_changed_nor_shared():
    picture, pixels = PICTURE.copy(), PIXELS.copy()
    from_pil, from_array = load_image(picture), load_image(pixels)
    picture.putpixel((0, 0), (1, 2, 3))
    pixels[:] = 0
    assert np.array_equal(np.asarray(from_pil.pixels), PIXELS)
    assert np.array_equal(np.asarray(from_array.pixels), PIXELS)


def test_a_file_is_read_from_where_it_stands(tmp_path):
    path = tmp_path / "padded"
    path.write_bytes(b"head" + encode())
    with path.open("rb") as file:
        file.seek(4)
        assert np.array_equal(loaded(file), PIXELS)


def test_a_file_may_hand_out_one_byte_at_a_time():
    class Drip(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(1)

    assert np.array_equal(loaded(Drip(encode())), PIXELS)


def test_a_link_to_a_picture_is_a_picture(tmp_path):
    (tmp_path / "real.png").write_bytes(encode())
    (tmp_path / "link").symlink_to("real.png")
    assert np.array_equal(loaded(tmp_path / "link"), PIXELS)


# Every kind of pixel.


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_keep_every_pixel(format):
    assert np.array_equal(loaded(encode(format=format)), PIXELS)


@pytest.mark.parametrize(("format", "options"), [("WEBP", {"lossless": True}), ("TIFF", {"compression": "tiff_lzw"})])
def test_compressed_lossless_formats_keep_every_pixel(format, options):
    assert np.array_equal(loaded(encode(format=format, **options)), PIXELS)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_opaque_modes_become_their_rgb(mode):
    image = PICTURE.convert(mode)
    assert np.array_equal(loaded(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA"])
def test_transparent_parts_are_white(mode):
    image = Image.new("RGBA", (2, 1))
    image.putpixel((0, 0), (0, 0, 0, 255))
    if mode == "La":
        image = image.convert("LA")
    assert loaded(image.convert(mode))[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_half_transparent_black_is_grey():
    assert loaded(Image.new("RGBA", (1, 1), (0, 0, 0, 128)))[0, 0].tolist() == [127] * 3


def test_a_transparent_palette_entry_is_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    for format in ("PNG", "GIF"):
        assert loaded(encode(image, format, transparency=1))[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_palette_transparency_given_per_entry_is_blended():
    image = Image.new("P", (1, 1))
    image.putpalette([0, 0, 0])
    assert loaded(encode(image, transparency=b"\x80"))[0, 0].tolist() == [127] * 3


def test_a_transparent_colour_of_rgb_is_white():
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((0, 0), (9, 9, 9))
    assert loaded(encode(image, transparency=(1, 2, 3)))[0].tolist() == [[9, 9, 9], [255, 255, 255]]


def test_sixteen_bits_are_scaled_from_the_full_range():
    grey = np.array([[0, 128, 129, 32768, 65535]], dtype=np.uint16)
    for source in (encode(Image.fromarray(grey)), encode(Image.fromarray(grey), "TIFF"), grey):
        assert loaded(source)[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_big_endian_sixteen_bits_too():
    image = Image.frombytes("I;16B", (2, 1), b"\x00\x00\xff\xff")
    assert loaded(encode(image, "TIFF"))[0, :, 0].tolist() == [0, 255]


def test_sixteen_bit_colour_png_keeps_its_high_byte():
    assert loaded(png(1, 1, depth=16, colour=2, rows=b"\x00" + b"\x12\x34\x56\x78\x9a\xbc"))[0, 0].tolist() == [
        0x12,
        0x56,
        0x9A,
    ]


def test_thirty_two_bit_grey_is_eight_or_sixteen_bits_or_an_error():
    assert loaded(PICTURE.convert("L").convert("I"))[0, 0, 0] == PICTURE.convert("L").getpixel((0, 0))
    assert loaded(Image.fromarray(np.array([[65535, 0]], dtype=np.int32)))[0, 0, 0] == 255
    with pytest.raises(ImageError, match=r"32-bit grey values -5\.\.70000"):
        load_image(Image.fromarray(np.array([[70000, -5]], dtype=np.int32)))


def test_cmyk_jpeg_is_read():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = loaded(encode(image, "JPEG"))[8, 8]
    assert red[0] > 240
    assert red[1:].max() < 20


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(orientation, format):
    # What a camera held that way would have stored, so that upright is PICTURE again.
    stored = {
        1: PICTURE,
        2: PICTURE.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: PICTURE.transpose(Image.Transpose.ROTATE_180),
        4: PICTURE.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: PICTURE.transpose(Image.Transpose.TRANSPOSE),
        6: PICTURE.transpose(Image.Transpose.ROTATE_90),
        7: PICTURE.transpose(Image.Transpose.TRANSVERSE),
        8: PICTURE.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    assert np.array_equal(loaded(encode(stored, format, exif=exif, **options)), PIXELS)


def test_a_pil_image_is_turned_upright_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encode(format="JPEG", exif=exif)))
    first = load_image(image)
    assert first.size_hw == (50, 30)
    assert load_image(first.pixels).id == first.id


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"\xff" * 40])
def test_a_picture_with_broken_exif_is_taken_as_upright(exif):
    assert load_image(encode(format="JPEG", exif=exif)).size_hw == (30, 50)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(format):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert loaded(data)[3, 3].tolist() == [255, 0, 0]


def test_a_phone_picture_with_a_second_one_inside_is_a_jpeg():
    data = encode(Image.new("RGB", (16, 16), "white"), "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    assert loaded(data)[8, 8].tolist() == [255] * 3


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, 1.0000001, -1e-9])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_arrays_run_from_0_to_1(value, dtype):
    array = np.full((2, 3), value, dtype=dtype)
    assert loaded(array)[0, 0].tolist() == [round(min(max(value, 0), 1) * 255)] * 3


@pytest.mark.parametrize(
    ("array", "first"),
    [
        (np.full((2, 3, 1), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 3, 4), [1, 2, 3, 255], np.uint8), [1, 2, 3]),
        (np.full((2, 3, 4), [1, 2, 3, 0], np.uint8), [255, 255, 255]),
        (np.full((2, 3), True), [255, 255, 255]),
        (np.full((2, 3, 3), [1.0, 0.0, 0.0]), [255, 0, 0]),
        (np.full((2, 3, 3), [65535, 0, 257], np.uint16), [255, 0, 1]),
    ],
)
def test_arrays_of_every_shape_and_kind(array, first):
    assert loaded(array)[0, 0].tolist() == first


def test_an_array_need_not_be_contiguous():
    assert np.array_equal(loaded(PIXELS[::-1, ::2]), PIXELS[::-1, ::2])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 20, 20)), r"shape \[3, 20, 20\].*transpose\(1, 2, 0\)"),
        (np.zeros((20, 20, 2)), r"shape \[20, 20, 2\]"),
        (np.zeros((1, 20, 20, 3)), r"shape \[1, 20, 20, 3\]"),
        (np.zeros(20), r"shape \[20\]"),
        (np.zeros(()), r"shape \[\]"),
        (np.zeros((0, 20), np.uint8), "20 x 0 pixels"),
        (np.zeros((20, 20), np.int64), "dtype int64; wanted uint8"),
        (np.zeros((20, 20), complex), "dtype complex128"),
        (np.array([["a"]]), "dtype <U1"),
        (np.array([[None]]), "dtype object"),
        (np.full((2, 2), 255.0), r"float values 255\.\.255; wanted 0 to 1"),
        (np.full((2, 2), np.nan), "float values nan"),
        (np.full((2, 2), np.inf), "float values inf"),
        (np.full((2, 2), -1.0), "float values -1"),
    ],
)
def test_arrays_that_are_no_picture(array, message):
    with pytest.raises(ImageError, match=message):
        load_image(array)


# Limits, all before decoding.


def png(width: int, height: int, depth: int = 8, colour: int = 2, rows: bytes = b"") -> bytes:
    """A PNG written by hand, so that its header can claim what it likes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((12_000, 12_000), "12000 x 12000 pixels; the limit max_pixels is 64000000"),
        ((60_000, 10), "60000 x 10 pixels; the limit max_side is 16384"),
        ((100_000, 100_000), "max_pixels = 64000000"),
        ((2**31 - 1, 2**31 - 1), "max_pixels = 64000000"),
    ],
)
def test_a_decompression_bomb_is_refused_by_its_header(size, message):
    with pytest.raises(ImageError, match=message):
        load_image(png(*size))


def test_a_bomb_costs_no_memory():
    # A GIF, a WebP and a BMP that claim 16000 x 16000 pixels; decoded, each would take 768 MB.
    program = """
import resource, struct, sys
from fo1agent.errors import ImageError
from fo1agent.pictures.image import load_image
side = 16000
vp8x = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (side - 1).to_bytes(3, "little") * 2
bombs = [
    b"GIF89a" + struct.pack("<HH", side, side) + bytes(3) + b"," + struct.pack("<HHHH", 0, 0, side, side) + bytes(9),
    b"RIFF" + struct.pack("<I", len(vp8x) + 4) + b"WEBP" + vp8x,
    b"BM" + bytes(8) + struct.pack("<IIiiHHIIIIII", 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100),
]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for bomb in bombs:
    try:
        load_image(bomb)
        sys.exit("was decoded")
    except ImageError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""  # no warning of Pillow's either
    assert int(run.stdout) < 50_000  # KiB


def test_the_limit_of_pixels_may_be_raised():
    assert load_image(PICTURE, ImageLimits(max_pixels=1500, max_side=50)).size_hw == (30, 50)
    with pytest.raises(ImageError, match="50 x 30 pixels; the limit max_pixels is 1499"):
        load_image(PICTURE, ImageLimits(max_pixels=1499))


@pytest.mark.parametrize("door", ["path", "bytes", "file", "data"])
def test_too_many_bytes_are_refused_at_every_door(door, tmp_path):
    data = encode()
    path = tmp_path / "x.png"
    path.write_bytes(data)
    source = {
        "path": path,
        "bytes": data,
        "file": io.BytesIO(data),
        "data": "data:;base64," + base64.b64encode(data).decode(),
    }[door]
    with pytest.raises(ImageError, match="limit max_bytes is 100"):
        load_image(source, ImageLimits(max_bytes=100))
    assert load_image(source if door != "file" else io.BytesIO(data), ImageLimits(max_bytes=len(data)))


def test_a_file_that_never_ends_is_cut_off():
    class Endless(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            return bytes(min(size, 65536))

    with pytest.raises(ImageError, match="limit max_bytes is 1000000"):
        load_image(Endless(), ImageLimits(max_bytes=1_000_000))


def test_only_listed_formats_are_tried():
    with pytest.raises(ImageError, match=r"looks like GIF.*Formats read: PNG, JPEG"):
        load_image(encode(format="GIF"), ImageLimits(formats=("PNG", "JPEG")))
    ppm = encode(format="PPM")
    with pytest.raises(ImageError, match="Formats read: JPEG, PNG"):
        load_image(ppm)
    assert np.array_equal(loaded(ppm, formats=("PPM",)), PIXELS)


def test_folders_keep_paths_inside(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "x.png").write_bytes(encode())
    (inside / "link.png").symlink_to(outside / "x.png")
    limits = ImageLimits(folders=(inside,))
    assert load_image(inside / "x.png", limits)
    for path in (outside / "x.png", inside / "link.png", inside / ".." / "out" / "x.png", "/etc/passwd"):
        with pytest.raises(ImageError, match="outside the folders"):
            load_image(path, limits)
    with pytest.raises(ImageError, match="outside the folders"):
        load_image(inside / "x.png", ImageLimits(folders=()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_bytes": 0},
        {"max_pixels": -1},
        {"max_side": 0},
        {"timeout_s": 0.0},
        {"timeout_s": float("nan")},
        {"max_redirects": -1},
        {"formats": ()},
        {"formats": ("JPG",)},
        {"folders": "/tmp"},
        {"hosts": "example.com"},
        {"hosts": ("https://example.com",)},
        {"hosts": ("example.com:8080",)},
        {"hosts": ("",)},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        ImageLimits(**wrong)


# Broken and hostile.


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_picture_says_so(format, share):
    data = encode(format=format)
    with pytest.raises(ImageError, match=r"damaged or cut off|looks like .*, damaged|no picture"):
        load_image(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty, 0 bytes"),
        (b"\x01hello", "no picture that can be recognised"),
        (b"\x00" * 1000, "a file of zeros, no picture"),
        (b"<!DOCTYPE html><html>", r"looks like a web page \(HTML\)"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", "looks like SVG"),
        (b"%PDF-1.7\n", "looks like PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "looks like PostScript"),
        (b"\x00\x00\x00\x18ftypheic", "looks like HEIC"),
        (b"PK\x03\x04", "looks like ZIP"),
        (b"\xff\xd8\xff", "looks like JPEG, damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut off|looks like PNG"),
        (png(0, 5), "0 x 5 pixels|damaged"),
    ],
)
def test_bytes_that_are_no_picture_are_described(data, message):
    with pytest.raises(ImageError, match=message):
        load_image(data)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png;base64", "no comma"),
        ("data:,", "empty"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,@@@@", "not valid base64"),
        ("data:image/png;base64,iVBOR", "not valid base64"),
        ("data:text/plain,hello", "no picture"),
        ("DATA:IMAGE/PNG;BASE64,aGVsbG8=", "no picture"),
    ],
)
def test_broken_data_urls(url, message):
    with pytest.raises(ImageError, match=message):
        load_image(url)


def test_base64_in_lines_is_read():
    lines = base64.encodebytes(encode()).decode()
    assert np.array_equal(loaded("data:image/png;base64," + lines), PIXELS)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "no file ''"),
        ("no/such/picture.jpg", "no file 'no/such/picture.jpg'"),
        (os.curdir, "a folder, not a regular file"),
        (os.devnull, "a device, not a regular file"),
        ("a\0b", "cannot be read as a file"),
        ("A" * 100_000, "cannot be read as a file"),
        (b"a path".decode(), "no file"),
    ],
)
def test_paths_to_no_picture(path, message):
    with pytest.raises(ImageError, match=message) as caught:
        load_image(path)
    assert len(str(caught.value)) < 300


def test_special_files_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="a pipe, not a regular file"):
        load_image(tmp_path / "pipe")
    if Path("/dev/zero").exists():
        with pytest.raises(ImageError, match="a device, not a regular file"):
            load_image("/dev/zero")


def test_a_loop_of_links_is_an_error(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ImageError, match="cannot be read as a file"):
        load_image(tmp_path / "a")


@pytest.fixture
def unprivileged():
    """Root may read everything, so run as nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encode())
    path.chmod(0)
    return path


def test_a_file_that_may_not_be_read_says_so(secret, unprivileged):
    with pytest.raises(ImageError, match="permission denied"):
        load_image(secret)


def test_a_text_file_object_is_refused():
    with pytest.raises(ImageError, match="binary mode"):
        load_image(io.StringIO("text"))


def test_a_closed_file_is_refused():
    file = io.BytesIO(encode())
    file.close()
    with pytest.raises(ImageError, match="it is closed"):
        load_image(file)


@pytest.mark.parametrize("source", [None, 3, 2.5, [1, 2], {"image": 1}, object(), LoadedImage])
def test_other_objects_are_named_with_what_to_pass(source):
    with pytest.raises(ImageError, match="Pass a path, URL, bytes, binary file, PIL image or numpy array"):
        load_image(source)


def test_messages_are_one_printable_line():
    with pytest.raises(ImageError) as caught:
        load_image("no\nsuch\x1b[31m file")
    assert str(caught.value).isprintable()


def test_a_broken_lazy_pil_image_is_an_image_error():
    image = Image.open(io.BytesIO(encode(format="JPEG")[:-100]))
    with pytest.raises(ImageError, match="damaged or cut off"):
        load_image(image)


def test_importing_the_intake_needs_no_torch_and_no_http_client():
    heavy = "('torch', 'httpx', 'transformers')"
    program = f"import sys, fo1agent.pictures.image; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_missing_reader_of_another_package_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """ultralytics puts its own `open` in Pillow's place, which wants a HEIF reader for what Pillow does not know."""

    def without_reader(*args: object, **kwargs: object) -> None:
        raise ModuleNotFoundError("No module named 'pi_heif'")

    monkeypatch.setattr(Image, "open", without_reader)
    with pytest.raises(ImageError, match="no picture"):
        load_image(b"hello")
