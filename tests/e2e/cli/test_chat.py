"""`fo1agent chat`: typed at a terminal, which a pseudo-terminal stands in for, and read from a pipe."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fo1agent import Agent
from fo1agent.cli import main
from fo1agent.pictures.drawing import region_color
from fo1agent.scene import Model
from fo1agent.serve.app import create_app  # here, so that none of its modules keeps the loading of fake models below
from fo1agent.serve.settings import Settings
from fo1agent.traces.store import read
from tests.fakes import FakePredictor
from tests.hostile import EVIL, steering
from tests.serving import in_thread

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
OBJECTS = [((10.0, 10.0, 60.0, 60.0), "person", 0.9), ((70.0, 10.0, 120.0, 60.0), "bus", 0.8)]
ENVIRONMENT = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}


@pytest.fixture
def folder(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the bundled photographs in it."""
    for name in ("bus.jpg", "cat.jpg"):
        shutil.copy(repo / "fo1agent" / "data" / "demo" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- at a terminal ----


class Terminal:
    """A program at a pseudo-terminal of 100 columns.

    Attributes:
        shown: all that it printed.
        attributes: what it answers when it is asked what it is.
    """

    attributes = "62;22"

    def __init__(self, *command: str, folder: Path) -> None:
        import fcntl
        import termios

        self._end, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 100, 0, 0))
        known = ("PATH", "PYTHONPATH", "VIRTUAL_ENV")
        kept = {name: os.environ[name] for name in known if name in os.environ}
        homes = {name: str(folder / "home") for name in ("HOME", "XDG_CONFIG_HOME")}
        # With the terminal as its own, the program gets a signal for Ctrl-C, which nobody hears whom a shell started in
        # the background.
        owning = (
            "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
            "signal.signal(signal.SIGINT, signal.default_int_handler); os.execv(sys.argv[1], sys.argv[1:])"
        )
        self._program = subprocess.Popen(
            [sys.executable, "-c", owning, *command],
            stdin=side,
            stdout=side,
            stderr=side,
            env={**kept, **homes, **ENVIRONMENT},
            start_new_session=True,
        )
        os.close(side)
        self.shown = ""

    def wait_for(self, pattern: str) -> str:
        """What is printed until its end matches the pattern."""
        before = len(self.shown)
        until = time.monotonic() + 120
        while not re.search(f"{pattern}$", self.shown[before:]):
            ready, _, _ = select.select([self._end], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.shown[before:]!r}"
            self.shown += self._read()
        return self.shown[before:]

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def interrupt(self, prompt: str) -> None:
        """Press Ctrl-C, as often as it takes: one just before Python waits for a key is seen with the next."""
        before = len(self.shown)
        for _ in range(60):
            self.type("\x03")
            while select.select([self._end], [], [], 2)[0]:
                self.shown += self._read()
                if self.shown[before:].endswith(prompt):
                    return
        raise AssertionError(f"no {prompt!r} in {self.shown[before:]!r}")

    def ask(self, line: str, prompt: str = "cat.jpg> ") -> str:
        """What is printed after a line, until the prompt comes again."""
        self.type(f"{line}\r")
        return self.wait_for(rf"\n(\x1b\[\?2004h)?{prompt}")

    def end(self) -> int:
        """The exit code, once all is read."""
        with contextlib.suppress(OSError):  # on Linux, the end of what is printed
            while more := self._read():
                self.shown += more
        return self._program.wait(60)

    def close(self) -> None:
        self._program.kill()
        self._program.wait()
        os.close(self._end)

    def _read(self) -> str:
        data = os.read(self._end, 65536)
        if data.endswith(b"\x1b[c"):
            self.type(f"\x1b[?{self.attributes}c")
        while True:
            try:
                return data.decode()
            except UnicodeDecodeError:  # a character is cut in two
                data += os.read(self._end, 1)


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    opened = Terminal(sys.executable, "-m", "fo1agent", "chat", "cat.jpg", folder=folder)
    yield opened
    opened.close()


def colored(name: str) -> str:
    red, green, blue = (int(region_color(name)[at : at + 2], 16) for at in (1, 3, 5))
    return f"\x1b[38;2;{red};{green};{blue}m\x1b[1m{name}\x1b[0m"


def test_a_chat_at_a_terminal(terminal: Terminal, folder: Path, repo: Path) -> None:
    """FO1AGENT_SCREENSHOTS=docs writes the picture of docs/shell.md there."""
    assert "▀" in terminal.wait_for("cat.jpg> ")
    said = terminal.ask("How many remotes are there?")
    assert "There are 2 remotes." in said
    assert f"evidence {colored('r0')} {colored('r2')} · " in said
    assert "(r0 and r2)" in terminal.ask("and where are they?")
    assert "\x1b[38;2;230;159;0" in terminal.ask("/show")  # the orange of r0, around it
    picture = terminal.shown.rpartition("\n")[0]
    assert "* 1  cat.jpg  640 × 407" in terminal.ask("/pic\t")
    terminal.type("Is there a")
    terminal.wait_for("Is there a")
    terminal.interrupt("cat.jpg> ")
    assert "bus.jpg> " in terminal.ask("/open b\t", "bus.jpg> ")
    assert "Yes, there is 1 bus." in terminal.ask("Is there a bus?", "bus.jpg> ")
    assert "  evidence " in terminal.ask("\x1b[A", "bus.jpg> ")  # the line before, asked again
    terminal.type("\x04")
    assert terminal.end() == 0
    (history,) = folder.rglob("chat_history")
    assert history.read_text(encoding="utf-8").splitlines()[-1] == "Is there a bus?"
    file = Path(repo, os.environ.get("FO1AGENT_SCREENSHOTS", folder)) / "chat.png"
    photographed(picture).quantize(256).save(file, optimize=True)
    assert file.stat().st_size < 300_000


def test_a_terminal_that_takes_sixels_gets_them(terminal: Terminal) -> None:
    terminal.attributes = "62;4;22"
    assert terminal.wait_for("cat.jpg> ").count("\x1bP0;1q") == 1
    said = terminal.ask("How many remotes are there?")
    assert said.index("There are 2 remotes.") < said.index("\x1bP0;1q")  # with the regions
    assert "▀" not in terminal.shown
    terminal.type("\x04")
    assert terminal.end() == 0


def photographed(printed: str, columns: int = 80) -> Image.Image:
    """A picture of a terminal that printed this."""
    import io

    import matplotlib
    from PIL import ImageDraw, ImageFont
    from rich.console import Console
    from rich.text import Text

    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSansMono.ttf", 15)
    wide, high, margin = round(font.getlength("M")), 20, 16
    text = Text.from_ansi(re.sub(r"\x1b\[\?2004[hl]|\r", "", printed))
    rows = Console(file=io.StringIO(), width=columns, color_system="truecolor").render_lines(text)
    shot = Image.new("RGB", (columns * wide + 2 * margin, len(rows) * high + 2 * margin), "#16181d")
    pen = ImageDraw.Draw(shot)
    for row, segments in enumerate(rows):
        x, y = margin, margin + row * high
        for letter, style in ((letter, one.style) for one in segments for letter in one.text):
            colors = [c and c.get_truecolor() for c in ((style.color, style.bgcolor) if style else (None, None))]
            if letter == "▀":
                pen.rectangle((x, y, x + wide - 1, y + high // 2 - 1), fill=colors[0])
                pen.rectangle((x, y + high // 2, x + wide - 1, y + high - 1), fill=colors[1])
            else:
                pen.text((x, y), letter, fill=colors[0] or "#d7dae0", font=font)
            x += wide
    return shot


# ---- read from a pipe ----


def run(*arguments: str, typed: str | bytes = "") -> Result:
    result = CliRunner().invoke(main, ["chat", *arguments], input=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_questions_come_from_a_pipe_and_go_back(folder: Path) -> None:
    lines = [
        "How many remotes are there?",
        "",
        "  /open bus.jpg",
        "Is there a bus?",
        "/use 1",
        "and where are they?",
        "/pictures",
        "/draw answer.png",
        "/draw answer.html",
        "/trace run.jsonl",
        "/quit",
        "Is there a dog?",
    ]
    result = run("cat.jpg", typed="\n".join(lines))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "There are 2 remotes.",
        "Yes, there is 1 bus.",
        "The remotes are on the couch (r3), at the right of the picture (r0 and r2).",
        "* 1  cat.jpg  640 × 407",
        "  2  bus.jpg  416 × 312",
    ]
    assert "  2  locate r0 r2" in result.stderr
    assert "\x1b" not in result.output
    with Image.open("answer.png") as picture:
        assert picture.size == (640, 407)
    assert "<html" in Path("answer.html").read_text(encoding="utf-8")
    assert read("run.jsonl").run.question == "and where are they?"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder with a picture in it; the model is a fake one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fo1agent.loading.load", lambda *args, **kwargs: Model(FakePredictor(OBJECTS)))
    Image.new("RGB", (160, 120), "gray").save("a b.png")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/fly", "There is no command /fly. There are: /open, "),
        ("/open", "/open takes FILE…; got nothing."),
        ("/open 'a", "/open 'a: No closing quotation."),
        ("/open absent.png", "There is no file 'absent.png'."),
        ("/open .", ". is a folder. Write ./*.jpg for its pictures, or use `fo1agent annotate` on all of it."),
        ("/open -", "A chat reads no picture from stdin"),
        ("/help me", "/help takes nothing; got me."),
        ("/use 2", "/use takes a number from 1 to 1, as /pictures lists them; got 2."),
        ("/use ²", "/use takes a number from 1 to 1"),
        ("/draw a.png", "Nothing was asked about a b.png yet."),
        ("Is there a bus?\n/draw a.doc", "Cannot save an answer as "),
        ("Is there a bus?\n/draw a b.png", "/draw a b.png: that is a file to be read; name another one."),
        ("Is there a bus?\n/trace no/a.jsonl", "/trace no/a.jsonl cannot be written: there is no folder no."),
        ("x" * 5000, "A question is a text of at most 4000 characters, got 5000 of them."),
    ],
    ids=lambda value: value[:24],
)
def test_what_cannot_be_done_is_one_line_and_the_chat_goes_on(fake: Path, line: str, told: str) -> None:
    result = run("a b.png", typed=f"{line}\nIs there a person?\n")
    assert result.exit_code == 1
    (error,) = [one for one in result.stderr.splitlines() if one.startswith("error: ")]
    assert error.startswith(f"error: {told}")
    assert result.stdout.splitlines()[-1] == "Yes, there is 1 person."


def test_names_with_blanks_and_patterns_are_opened(fake: Path) -> None:
    Image.new("RGB", (80, 60), "gray").save("c.png")
    result = run("c.png", typed="/open a b.png\n/open *.png 'a b.png'\n/pictures\n")
    opened = [re.split(r"\d  ", line)[1].rpartition("  ")[0] for line in result.stdout.splitlines()]
    assert opened == ["c.png", "a b.png", "a b.png", "c.png", "a b.png"]


def test_without_any_picture_there_is_no_chat(fake: Path) -> None:
    result = run("absent.png", "gone.png", typed="Is there a bus?\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line[:20] for line in result.stderr.splitlines()] == ["error: There is no f"] * 2
    assert run("a b.png", "gone.png", typed="Is there a bus?\n").stdout == "Yes, there is 1 bus.\n"


def test_ctrl_c_ends_an_answer_and_not_the_chat(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Agent.ask

    def interrupted(self: Agent, source: Any, question: str, *args: Any, **kwargs: Any) -> Any:
        if "car" in question:
            raise KeyboardInterrupt
        return ask(self, source, question, *args, **kwargs)

    monkeypatch.setattr(Agent, "ask", interrupted)
    result = run("a b.png", typed="Is there a car?\nIs there a bus?\n")
    assert (result.exit_code, result.stdout) == (0, "Yes, there is 1 bus.\n")
    assert result.stderr.startswith("stopped\n")


def test_every_run_is_saved_where_the_variable_says(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FO1AGENT_TRACES", "traces")
    run("a b.png", typed="Is there a bus?\nIs there a person?\n")
    saved = {read(path).run.question for path in Path("traces").iterdir()}
    assert saved == {"Is there a bus?", "Is there a person?"}


def test_bytes_that_are_no_text_are_spelled_out(fake: Path) -> None:
    result = run("a b.png", typed=b"Is there a b\xffs?\n/trace run.jsonl\n")
    assert result.exit_code == 0
    assert read("run.jsonl").run.question == "Is there a b\\xffs?"


def test_nothing_foreign_steers_the_terminal(fake: Path) -> None:
    Image.new("RGB", (80, 60), "gray").save(f"{EVIL}.png".replace("/", ""))
    typed = f"/open *.png\n/pictures\nHow many {EVIL} are there?\n/draw {EVIL}\n/{EVIL}\n/use {EVIL}\n"
    result = run("a b.png", typed=typed)
    assert "owned" in result.stdout
    assert "owned" in result.stderr
    assert steering(result.stdout) + steering(result.stderr) == []


def test_a_server_answers_and_saves_itself(fake: Path) -> None:
    with in_thread(create_app(Model(FakePredictor(OBJECTS)), Settings(batching=False))) as url:
        typed = "How many people are there?\nand where are they?\n/show\n/draw a.png\n/trace a.jsonl\n"
        result = run("a b.png", "--server", url, typed=typed)
    assert result.stdout.splitlines()[0] == "There is 1 person."
    assert "(r0)" in result.stdout.splitlines()[1]
    assert Path("a.png").is_file()
    assert result.stderr.splitlines()[-1].startswith("error: /trace saves what runs here")


def test_a_chat_reads_no_picture_from_stdin(fake: Path) -> None:
    result = run("-", typed=Path("a b.png").read_bytes())
    assert result.exit_code == 2
    assert "Questions come from stdin" in result.stderr
