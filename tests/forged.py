"""Two pictures of one short id, found by trying: what somebody does who is after another's picture."""

from __future__ import annotations

from PIL import Image

_SIZE = (64, 48)


def _picture(color: tuple[int, int, int], tail: int) -> Image.Image:
    pixels = bytes(color) * (_SIZE[0] * _SIZE[1] - 2)
    return Image.frombytes("RGB", _SIZE, pixels + tail.to_bytes(6, "big"))


def red() -> Image.Image:
    """64 x 48, all red but for its last two pixels."""
    return _picture((200, 0, 0), 143_161)


def blue() -> Image.Image:
    """The same in blue, and with other last pixels, so that the first 32 bits of its hash are the same."""
    return _picture((0, 0, 200), 58_953)


SHORT_ID = "img_77083d70"
"""Of both."""
