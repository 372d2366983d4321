"""`fo1agent chat`: a model that is loaded once, pictures that stay open, and one question after another.

Each picture has a talk of its own, so that a question may go back to those before it. A line that begins with / is a
command; any other is a question. Lines are edited by Python's own `readline`, which brings history and completion
without another package; where Python has none, as on Windows, the terminal's own editing does. Lines may also come from
a file or a pipe.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fo1agent.cli import console, inline
from fo1agent.cli.pictures import matches
from fo1agent.errors import FO1AgentError, InputError
from fo1agent.foreign import visible

if TYPE_CHECKING:
    from fo1agent.agent.loop import Talk
    from fo1agent.runs.answer import Answer
    from fo1agent.traces.lines import Line
    from fo1agent.traces.store import Memory, Place

COMMANDS = {
    "/open": ("FILE…", "open more pictures, and ask about the last; patterns such as *.jpg are taken too"),
    "/pictures": ("", "list the open pictures"),
    "/use": ("NUMBER", "ask about another open picture"),
    "/show": ("", "show the picture here, with the regions of the last answer"),
    "/draw": ("FILE", "write the last answer as a picture (.png, .jpg, .webp) or a report (.html)"),
    "/trace": ("FILE", "save the last run, for `fo1agent replay`, `diff` and `report`"),
    "/help": ("", "list these commands"),
    "/quit": ("", "end the chat, as Ctrl-D does"),
}

_HISTORY = 1000  # lines that are kept
_ROWS = 20  # of the terminal that a picture takes at most; a third of it if that is less
_COLUMNS = 80


@dataclass
class _Open:
    """A picture that is open, with what was said of it last."""

    name: str
    talk: Talk
    answer: Answer | None = None
    run: Sequence[Line] = ()


class Chat:
    """A chat about pictures.

    Args:
        opened: opens a picture by its name.
        agent: answers; anything with the `ask` of an `Agent`.
        memory: where the agent's last run is, if it runs here and not at a server.
        saved: where each run is saved as well.
        cell: pixels of a character of a terminal that takes sixels, as `inline.sixel_cell` gives it.

    Attributes:
        typed: whether somebody types the lines at a terminal, and reads there.
        failed: whether something could not be opened, answered or written.
    """

    def __init__(
        self,
        opened: Callable[[str], Any],
        agent: Any,
        memory: Memory | None = None,
        saved: Place | None = None,
        cell: tuple[int, int] | None = None,
    ) -> None:
        self._opened = opened
        self._agent = agent
        self._memory = memory
        self._saved = saved
        self._cell = cell
        self._pictures: list[_Open] = []
        self._at = 0
        self.typed = sys.stdin is not None and sys.stdin.isatty() and console.on_a_terminal()
        self.failed = False

    def open(self, names: Sequence[str]) -> bool:
        """Open pictures, and turn to the last; False if none could be opened."""
        before = len(self._pictures)
        for name in names:
            with self._failing():
                self._open_one(name)
        if len(self._pictures) == before:
            return False
        self._at = len(self._pictures) - 1
        self._do_show()
        return True

    def run(self) -> None:
        """Answer line after line, until there are no more."""
        if self.typed:
            console.note("Ask about it; /help lists the commands. Ctrl-C ends an answer, Ctrl-D the chat.")
        with _line_editing(self._completions) if self.typed else contextlib.nullcontext():
            for line in self._lines():
                if line == "/quit":
                    return
                try:
                    with self._failing():
                        (self._follow if line.startswith("/") else self._ask)(line)
                except KeyboardInterrupt:
                    console.note("stopped")

    # ---- what is typed -----------------------------------------------------------------------------------------------

    def _lines(self) -> Iterator[str]:
        if sys.stdin is None:
            return
        # Bytes that are no UTF-8 are spelled out, as in arguments.
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
        while True:
            try:
                line = self._line().strip()
            except KeyboardInterrupt:
                console.result("")  # the line that was typed ends here
                continue
            except EOFError:
                if self.typed:
                    console.result("")
                return
            if line:
                yield line

    def _line(self) -> str:
        if self.typed:
            return input(f"{visible(console.one_line(self._current.name))[-40:]}> ")
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    def _follow(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        if name not in COMMANDS:
            raise InputError(f"There is no command {name}. There are: {', '.join(COMMANDS)}.")
        wanted, given = COMMANDS[name][0], rest.strip()
        if bool(wanted) != bool(given):
            raise InputError(f"{name} takes {wanted or 'nothing'}; got {given or 'nothing'}.")
        getattr(self, f"_do_{name[1:]}")(*([given] if wanted else []))

    def _completions(self, line: str, word: str) -> list[str]:
        """What the word may become that the line ends with."""
        command, blank, _ = line.partition(" ")
        if not blank:
            return [f"{name} " for name in COMMANDS if name.startswith(word)] if word.startswith("/") else []
        if command == "/use":
            return [str(k) for k in range(1, len(self._pictures) + 1) if str(k).startswith(word)]
        if COMMANDS.get(command, ("",))[0].startswith("FILE"):
            found = sorted(glob.glob(f"{glob.escape(word)}*"))
            return [f"{one}{os.sep}" if os.path.isdir(one) else one for one in found]
        return []

    # ---- commands ----------------------------------------------------------------------------------------------------

    def _do_open(self, given: str) -> None:
        # A name with blanks needs no quotes when it stands alone; several are parted as a shell parts them.
        try:
            names = [given] if os.path.exists(given) else shlex.split(given)
        except ValueError as exc:  # a quote that is not closed
            raise InputError(f"/open {given}: {exc}.") from exc
        self.open([name for one in names for name in matches(os.path.expanduser(one))])

    def _do_pictures(self) -> None:
        for number, one in enumerate(self._pictures, 1):
            scene = one.talk.scene
            mark = "*" if number == self._at + 1 else " "
            console.result(f"{mark} {number}  {console.one_line(one.name)}  {scene.width} × {scene.height}")

    def _do_use(self, given: str) -> None:
        if not given.isdecimal() or not 1 <= int(given) <= len(self._pictures):
            raise InputError(
                f"/use takes a number from 1 to {len(self._pictures)}, as /pictures lists them; got {given}."
            )
        self._at = int(given) - 1
        self._do_show()

    def _do_show(self) -> None:
        """Show the picture, with the regions of its last answer; nothing where there is no terminal to show it."""
        if not console.shows_pictures():
            return
        current = self._current
        columns, lines = shutil.get_terminal_size()
        evidence, points = (current.answer.evidence, current.answer.points) if current.answer else ((), {})
        limits = min(columns - 1, _COLUMNS), min(max(lines // 3, 8), _ROWS)
        console.picture(inline.drawn(current.talk.scene.image, evidence, *limits, cell=self._cell, points=points))

    def _do_draw(self, given: str) -> None:
        answer = self._answered().answer
        assert answer is not None
        answer.save(self._writable("/draw", given))
        console.note(f"wrote {given}")

    def _do_trace(self, given: str) -> None:
        from fo1agent.traces.store import File

        if self._memory is None:
            raise InputError("/trace saves what runs here; with --server it is the server that saves.")
        _write(self._answered().run, File(self._writable("/trace", given)))
        console.note(f"wrote {given}")

    def _do_help(self) -> None:
        for name, (wanted, what) in COMMANDS.items():
            console.result(console.Styled(f"{name:<10}", bold=True), f"{wanted:<8}{what}")

    # ---- answers -----------------------------------------------------------------------------------------------------

    def _ask(self, question: str) -> None:
        current = self._current
        start = time.perf_counter()
        answer = current.talk.ask(question, console.step)
        seconds = time.perf_counter() - start
        current.answer = answer
        console.result_text(answer.text)
        for note in answer.notes:
            console.note(f"  {console.one_line(note)}")
        evidence = console.evidence(answer.evidence)
        told = [*console.not_judged(answer.not_judged, answer.bounds), f"{seconds:.1f} s"]
        console.note("  ", *evidence, " · " if evidence else "", console.one_line(" · ".join(told)))
        if len(answer.evidence) and inline.kind(cell=self._cell) != "blocks":  # half blocks have no room for tags
            self._do_show()
        if self._memory is not None:
            current.run = tuple(self._memory.lines)
            if self._saved is not None:
                _write(current.run, self._saved)

    @property
    def _current(self) -> _Open:
        return self._pictures[self._at]

    def _answered(self) -> _Open:
        if self._current.answer is None:
            raise InputError(f"Nothing was asked about {self._current.name} yet.")
        return self._current

    def _open_one(self, name: str) -> None:
        from fo1agent.agent.loop import Talk

        if name == "-":
            raise InputError("A chat reads no picture from stdin, where its questions come from. Name a file.")
        self._pictures.append(_Open(name, Talk(self._agent, self._opened(name))))

    def _writable(self, command: str, given: str) -> Path:
        path = Path(given).expanduser()
        console.check_outputs({command: path}, [one.name for one in self._pictures])
        return path

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """An expected failure within is one line, and the chat goes on."""
        try:
            yield
        except BrokenPipeError:
            raise
        except (FO1AgentError, click.UsageError, OSError) as exc:
            self.failed = True
            console.error(exc.format_message() if isinstance(exc, click.UsageError) else str(exc))


def _write(lines: Sequence[Line], place: Place) -> None:
    """Write a run that is over to a place."""
    writer = place.open(lines[0])  # pyright: ignore[reportArgumentType] - a run's first line is its `RunLine`
    try:
        for line in lines[1:]:
            writer.write(line)
        writer.finish()
    finally:
        writer.close()


@contextlib.contextmanager
def _line_editing(completions: Callable[[str, str], list[str]]) -> Iterator[None]:
    """Within the block, `input` has the history of former chats, and completes words.

    Args:
        completions: called as (the line so far, its last word).
    """
    try:
        import readline
    except ImportError:  # as on Windows
        yield
        return
    history = Path(click.get_app_dir("fo1agent")) / "chat_history"

    def complete(word: str, number: int) -> str | None:
        found = completions(readline.get_line_buffer(), word)
        return found[number] if number < len(found) else None

    former = readline.get_completer(), readline.get_completer_delims()
    readline.set_completer(complete)
    readline.set_completer_delims(" ")
    # macOS has libedit under the same name, which calls it otherwise.
    readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
    readline.set_history_length(_HISTORY)
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    try:
        yield
    finally:
        readline.set_completer(former[0])
        readline.set_completer_delims(former[1])
        with contextlib.suppress(OSError):  # a chat does without
            history.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(history)
