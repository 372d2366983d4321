"""Laws of the intake."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fo1agent.errors import ImageError
from fo1agent.pictures.image import load_image


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))))
def test_pixels_and_id_survive_a_png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    once, again = load_image(pixels), load_image(buffer.getvalue())
    assert np.array_equal(np.asarray(again.pixels), pixels)
    assert once.id == again.id


def _samples() -> list[bytes]:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    samples = []
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        buffer = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(buffer, format, **({} if format in ("GIF", "BMP") else {"exif": exif}))
        samples.append(buffer.getvalue())
    return samples


def picture_or_error(source) -> str:
    """The mode of the picture, or the error's message; any other exception passes through and fails the test."""
    try:
        return load_image(source).pixels.mode
    except ImageError as exc:
        return str(exc)


@given(st.sampled_from(_samples()), st.data())
def test_damaged_bytes_give_a_picture_or_an_image_error(sample, data):
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert picture_or_error(bytes(damaged)).isprintable()


@given(st.binary(max_size=200))
def test_any_bytes_give_a_picture_or_an_image_error(data):
    assert picture_or_error(data).isprintable()


@given(st.text(max_size=60))
def test_any_text_gives_a_picture_or_an_image_error(text):
    assert picture_or_error("data:" + text).isprintable()
    assert picture_or_error("no such folder/" + text).isprintable()
