"""Pictures in a terminal: which kind of terminal gets what, how large it is, and that a region keeps its colour."""

from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import Image

from fo1agent.cli import sixel
from fo1agent.cli.inline import drawn, kind, sixel_cell
from fo1agent.regions.regions import Region

PICTURE = Image.new("RGB", (100, 50), "#102030")
REGION = Region(id="r0", box=(0.0, 0.0, 50.0, 50.0), label="cat", score=0.9)
ORANGE = "230;159;0"
TRUE_COLOR = {"COLORTERM": "truecolor"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "blocks"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"KITTY_WINDOW_ID": "1", "TMUX": "/tmp/tmux"}, "blocks"),
        ({"LC_TERMINAL": "iTerm2", "TERM": "screen.xterm-256color"}, "blocks"),
    ],
)
def test_a_terminal_is_known_by_its_environment(environment: dict[str, str], expected: str) -> None:
    assert kind(environment) == expected


def test_who_takes_sixels_is_given_them() -> None:
    assert kind({"TERM": "foot"}, (10, 20)) == "sixel"


@pytest.mark.parametrize("environment", [{"TERM": "xterm-kitty"}, {"TERM_PROGRAM": "WezTerm"}])
def test_who_takes_better_is_not_asked_for_sixels(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sixel, "ask", lambda: (10, 20))
    assert sixel_cell(environment) is None
    assert sixel_cell({"TERM": "xterm"}) == (10, 20)


@pytest.mark.parametrize(
    ("size", "pixels"),
    [((100, 50), (400, 200)), ((50, 100), (100, 200)), ((5000, 1), (400, 1)), ((30, 31), (194, 200))],
)
def test_sixels_fill_the_cells_they_may_take(size: tuple[int, int], pixels: tuple[int, int]) -> None:
    printed = drawn(Image.new("RGB", size), [], 40, 10, {}, cell=(10, 20))
    assert re.search(r'"1;1;(\d+);(\d+)', printed).groups() == tuple(map(str, pixels))  # pyright: ignore[reportOptionalMemberAccess]


def test_sixels_are_never_more_than_a_screen_needs() -> None:
    assert '"1;1;800;400#' in drawn(PICTURE, [], 80, 40, {}, cell=(30, 60))


def test_half_blocks_show_two_lines_of_pixels_in_one() -> None:
    lines = drawn(PICTURE, [], 20, 20, TRUE_COLOR).splitlines()
    assert lines == ["\x1b[38;2;16;32;48;48;2;16;32;48m" + "▀" * 20 + "\x1b[0m"] * 5


@pytest.mark.parametrize(
    ("size", "columns", "rows", "cells"),
    [
        ((100, 50), 40, 20, (40, 10)),
        ((50, 100), 40, 20, (20, 20)),
        ((1, 5000), 40, 20, (1, 20)),
        ((5000, 1), 40, 20, (40, 1)),
    ],
)
def test_a_picture_keeps_its_form_within_the_cells_it_may_take(
    size: tuple[int, int], columns: int, rows: int, cells: tuple[int, int]
) -> None:
    lines = drawn(Image.new("L", size), [], columns, rows, {}).splitlines()
    assert (lines[0].count("▀"), len(lines)) == cells


def test_a_region_has_its_colour() -> None:
    assert ORANGE in drawn(PICTURE, [REGION], 20, 20, TRUE_COLOR)
    assert "38;5;214" in drawn(PICTURE, [REGION], 20, 20, {})  # the nearest of 256


def test_kitty_gets_a_png_in_pieces_and_is_asked_for_no_reply() -> None:
    noise = Image.effect_noise((300, 150), 100)
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", drawn(noise, [REGION], 40, 20, {"TERM": "xterm-kitty"}))
    assert len(pieces) > 2
    assert [head for head, _ in pieces] == [
        "a=T,f=100,q=2,c=40,m=1",
        *["m=1"] * (len(pieces) - 2),
        "m=0",
    ]
    assert max(len(data) for _, data in pieces) == 4096
    assert opened("".join(data for _, data in pieces)).size == (800, 400)


def test_iterm_gets_a_png_at_once() -> None:
    printed = drawn(PICTURE, [REGION], 40, 20, {"TERM_PROGRAM": "iTerm.app"})
    match = re.fullmatch(
        r"\x1b\]1337;File=inline=1;size=(\d+);width=40;preserveAspectRatio=1:([^\x07]*)\x07\n", printed
    )
    assert match
    assert len(base64.b64decode(match[2])) == int(match[1])
    assert opened(match[2]).size == (800, 400)


def opened(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data)))
