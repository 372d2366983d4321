"""Sixels: they show the picture that they were made of, and a terminal is asked for them politely."""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fo1agent.cli.sixel import CELL, ask, encoded

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
ASKED = b"\x1b[16t\x1b[c"


# ---- pictures ----


def decoded(sequence: str) -> np.ndarray:
    """The pixels [height, width, 3], in percent; those that nothing is said of are -1."""
    head = re.fullmatch(r'\x1bP0;1q"1;1;(\d+);(\d+)(.*)\x1b\\', sequence, re.DOTALL)
    assert head
    width, height = int(head[1]), int(head[2])
    pixels = np.full((height + 6, width, 3), -1)
    colors, color, x, y = {}, 0, 0, 0
    for token in re.finditer(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|(?:!(\d+))?([?-~])|([$-])", head[3]):
        number, *parts, times, letter, move = token.groups()
        if number:
            color = int(number)
            if parts[0]:
                colors[color] = list(map(int, parts))
        elif letter:
            for bit in range(6):
                if ord(letter) - 63 >> bit & 1:
                    pixels[y + bit, x : x + int(times or 1)] = colors[color]
            x += int(times or 1)
        else:
            x, y = 0, y + 6 * (move == "-")
    assert "".join(token[0] for token in re.finditer(r"[#!]?[\d;]+|[$?-~-]", head[3])) == head[3]
    assert (pixels[height:] == -1).all()
    return pixels[:height]


@pytest.mark.parametrize("size", [(1, 1), (7, 6), (5, 13), (300, 20)])
def test_a_picture_of_few_colours_comes_back_as_it_was(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, "#ffffff")
    pen = ImageDraw.Draw(picture)
    pen.line((0, 0, *size), "#ff0000")
    pen.rectangle((2, 3, 200, 9), "#0033cc")
    assert decoded(encoded(picture)).tolist() == (np.asarray(picture) // 51 * 20).tolist()


def test_a_picture_of_many_colours_comes_back_nearly() -> None:
    across, down = np.meshgrid(np.arange(90), np.arange(70))
    pixels = np.stack([across * 2, down * 3, across + down], axis=-1).astype(np.uint8)
    error = decoded(encoded(Image.fromarray(pixels))) * 2.55 - pixels
    assert np.abs(error).mean() < 6


def test_other_modes_are_shown_too() -> None:
    assert decoded(encoded(Image.new("L", (4, 4), 255))).tolist() == [[[100] * 3] * 4] * 4


def test_what_is_alike_is_said_once() -> None:
    assert encoded(Image.new("RGB", (800, 6))).endswith("#0!800~\x1b\\")


# ---- asking ----


@contextlib.contextmanager
def terminal(*answers: bytes) -> Iterator[tuple[int, int]]:
    """The two ends of a pseudo-terminal that gives the answers once it is asked; with none it is silent."""
    end, side = pty.openpty()

    def answering() -> None:
        asked = b""
        while not asked.endswith(ASKED):
            asked += os.read(end, 100)
        for answer in answers:
            os.write(end, answer)

    thread = threading.Thread(target=answering, daemon=True)
    if answers:
        thread.start()
    try:
        yield end, side
    finally:
        if answers:
            thread.join(30)
        os.close(side)
        os.close(end)


@pytest.fixture(autouse=True)
def in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests are in front at the pseudo-terminals, whose sessions they do not belong to."""
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())


@pytest.mark.parametrize(
    ("answers", "cell"),
    [
        ((b"\x1b[?62;4;22c",), CELL),
        ((b"\x1b[6;18;9t\x1b[?62;4c",), (9, 18)),
        ((b"\x1b[6;18;", b"9t\x1b[?6", b"2;4c"), (9, 18)),
        ((b"\x1b[6;0;0t\x1b[?4c",), CELL),
        ((b"\x1b[6;18;9t\x1b[?62;22;42c",), None),
        ((b"\x1b[?c",), None),
    ],
)
def test_a_terminal_that_takes_sixels_says_so(answers: tuple[bytes, ...], cell: tuple[int, int] | None) -> None:
    import termios

    with terminal(*answers) as (_, side):
        before = termios.tcgetattr(side)
        assert ask(side, side, limit=30) == cell
        assert termios.tcgetattr(side) == before
        assert not select.select([side], [], [], 0)[0]  # nothing is left that would look as if it had been typed


def test_a_terminal_that_is_silent_takes_none() -> None:
    with terminal() as (end, side):
        assert ask(side, side, limit=0.01) is None
        assert os.read(end, 100) == ASKED


def test_a_terminal_that_says_no_end_of_other_things_takes_none() -> None:
    with terminal(b"x" * 2000) as (_, side):
        assert ask(side, side, limit=30) is None


def test_what_was_typed_before_stays() -> None:
    with terminal() as (end, side):
        os.write(end, b"How many\n")
        select.select([side], [], [])
        os.read(end, 100)  # its echo
        assert ask(side, side, limit=30) is None
        assert not select.select([end], [], [], 0)[0]  # nothing was asked
        assert os.read(side, 100) == b"How many\n"


def test_who_is_behind_the_shell_does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    with terminal() as (end, side):
        assert ask(side, side, limit=30) is None
        assert not select.select([end], [], [], 0)[0]


@pytest.mark.parametrize("piped", ["stdin", "stdout"])
def test_what_is_no_terminal_is_not_asked(piped: str) -> None:
    out, into = os.pipe()
    with terminal() as (end, side):
        assert ask(out, side, limit=30) is None if piped == "stdin" else ask(side, into, limit=30) is None
        assert not select.select([end, out], [], [], 0)[0]
    os.close(out)
    os.close(into)
