"""`fo1agent replay`, `diff` and `report`: recorded runs, run again, compared and shown. Parse, call, print.

`replay` and `diff` exit as diff(1) does: 0 the same, 1 different, 2 trouble.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fo1agent.cli import console
from fo1agent.cli import loading as cli_loading
from fo1agent.cli import own_tools as cli_own_tools
from fo1agent.errors import FO1AgentError

if TYPE_CHECKING:
    from PIL.Image import Image

    from fo1agent.agent.differences import Comparison, Difference
    from fo1agent.scene import Model
    from fo1agent.traces.lines import Line, RunLine
    from fo1agent.traces.store import LineWriter, Place, Trace

FOLDER = "FO1AGENT_TRACES"
"""The variable that names a folder where every run of `fo1agent ask`, of `fo1agent chat` and of a server is saved."""

TRACE_IN = click.Path(dir_okay=False, path_type=Path)  # that it is there is said in one way with what is wrong in it


def _trouble_is_2(command: Callable[..., None]) -> Callable[..., None]:
    """An expected failure is one line on stderr and exit 2, since 1 means "different"."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (FO1AgentError, OSError) as exc:
            console.error(str(exc))
            click.get_current_context().exit(2)

    return run


_tolerance = click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="By how much scores may differ; for lengths, as a share of the length.",
)
_as_json = click.option("--json", "json_output", is_flag=True, help="Print one JSON object instead of text.")
_html_to = click.option("--html", type=console.PAGE_OUT, metavar="OUT.html", help="Write both runs side by side.")


@click.command(epilog="\b\nExample:\n  fo1agent replay run.jsonl --html replay.html")
@click.argument("file", type=TRACE_IN, metavar="TRACE")
@click.option("--image", metavar="IMAGE", help="The picture; without it, the file that the trace names.")
@click.option("--other-image", is_flag=True, help="Allow --image to be another picture than that of the trace.")
@cli_loading.model_options
@cli_own_tools.own_tools
@_tolerance
@_html_to
@_as_json
@_trouble_is_2
def replay(
    file: Path,
    image: str | None,
    other_image: bool,
    proposer: str | None,
    model_name: str | None,
    tools: Sequence[str],
    tolerance: float,
    html: Path | None,
    json_output: bool,
    **running: Any,
) -> None:
    """Run the plan of a trace again, without its language model, and report differences.

    Boxes are made as they were for the trace unless --proposer is given; without --model it must be of fo1-nano.

    Exit 0 if there are none, 1 if there are some, 2 if it cannot be run.
    """
    from fo1agent.agent import replay as replays
    from fo1agent.agent.differences import compare
    from fo1agent.tools.registry import registry
    from fo1agent.traces import store

    if other_image and not image:
        raise click.UsageError("--other-image needs --image.")
    console.check_outputs({"--html": html}, [file, image])
    known = registry(*cli_own_tools.load_tools(tools))
    trace = store.read(file)
    model = _load(trace, model_name, proposer=proposer, **running)
    scene = replays.open_picture(trace, model, image, other_image=other_image, own_boxes=proposer is not None)
    again = replays.replay(trace, scene, known)
    comparison = compare(trace, again, tolerance, replayed=True)
    same_picture = trace.run.image.sha256 == again.run.image.sha256
    _tell(comparison, (scene.image if same_picture else None, scene.image), html, json_output)


@click.command(epilog="\b\nExample:\n  fo1agent diff before.jsonl after.jsonl --html diff.html")
@click.argument("first", type=TRACE_IN, metavar="A")
@click.argument("second", type=TRACE_IN, metavar="B")
@click.option("--image", metavar="IMAGE", help="For --html: the picture; without it, the file that a trace names.")
@_tolerance
@_html_to
@_as_json
@_trouble_is_2
def diff(first: Path, second: Path, image: str | None, tolerance: float, html: Path | None, json_output: bool) -> None:
    """Compare two traces: plans, steps, answers, and settings.

    Exit 0 if they are the same, 1 if they differ, 2 if one cannot be read.
    """
    from fo1agent.agent.differences import compare
    from fo1agent.traces import store

    console.check_outputs({"--html": html}, [first, second, image])
    a, b = store.read(first), store.read(second)
    pictures = (_picture(a, image), _picture(b, image)) if html else (None, None)
    _tell(compare(a, b, tolerance), pictures, html, json_output)


@click.command(epilog="\b\nExample:\n  fo1agent report run.jsonl run.html")
@click.argument("file", type=TRACE_IN, metavar="TRACE")
@click.argument("out", type=console.PAGE_OUT, metavar="OUT.html")
@click.option("--image", metavar="IMAGE", help="The picture; without it, the file that the trace names.")
def report(file: Path, out: Path, image: str | None) -> None:
    """Write a trace as a page: answer, steps, picture with its regions."""
    from fo1agent.agent.replay import picture
    from fo1agent.runs import report as reports
    from fo1agent.traces import store

    console.check_outputs({"OUT.html": out}, [file, image])
    trace = store.read(file)
    page = reports.html(trace.answer, picture(trace, image).pixels)
    with console.whole_file(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    console.note(f"report {out}")


class Patient:
    """A place for the runs of a shell, whose answers are not to be lost with their traces: that no line more of a run
    can be written is told by `check`, when its answer has been.

    Args:
        place: where the traces go; that nothing at all can be written there is told at once.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._writers: dict[str, _PatientWriter] = {}

    def open(self, run: RunLine) -> LineWriter:
        """As `Place.open`."""
        writer = _PatientWriter(self._place.open(run))
        self._writers[run.image.id or ""] = writer
        return writer

    def check(self, picture: str) -> None:
        """Raise what kept the trace of the latest run about a picture, by its id, from being written, if something did.

        Raises:
            AgentError: the message names the file.
        """
        writer = self._writers.pop(picture, None)
        if writer is not None and writer.failure:
            raise writer.failure


class _PatientWriter:
    """A `LineWriter` that keeps the first `failure` for later."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer
        self.failure: FO1AgentError | None = None

    def write(self, line: Line) -> None:
        self._try(lambda: self._writer.write(line))

    def finish(self) -> None:
        self._try(self._writer.finish)

    def close(self) -> None:
        try:
            self._writer.close()
        except FO1AgentError as exc:
            self.failure = self.failure or exc

    def _try(self, act: Callable[[], None]) -> None:
        if self.failure is None:
            try:
                act()
            except FO1AgentError as exc:
                self.failure = exc


def place(file: Path | None = None) -> Place | None:
    """Where runs are saved: in the file, else in the folder of FO1AGENT_TRACES, else nowhere."""
    from fo1agent.traces.store import File, as_place

    return File(file) if file else as_place(os.environ.get(FOLDER) or None)


def _load(trace: Trace, model_name: str | None, **running: Any) -> Model:
    from fo1agent.errors import InputError
    from fo1agent.loading import load

    recorded = trace.run.model
    # A trace may come from anybody, so it is not left to it which weights are fetched and loaded.
    if model_name is None and recorded is not None and recorded.name != "fo1-nano":
        raise InputError(f"{trace.name} was recorded with {recorded.name}. Say where its weights are with --model.")
    return load(model_name, **running)


def _picture(trace: Trace, image: str | None) -> Image | None:
    """The picture of a trace, or None and a note where it is not at hand."""
    from fo1agent.agent.replay import picture
    from fo1agent.errors import InputError

    try:
        return picture(trace, image).pixels
    except InputError as exc:
        console.note(f"without the picture of {trace.name}: {console.one_line(str(exc))}")
        return None


def _tell(
    comparison: Comparison, pictures: tuple[Image | None, Image | None], html: Path | None, json_output: bool
) -> None:
    """Print a comparison, write it where that was asked for, and exit."""
    from fo1agent.agent import differences

    if json_output:
        console.result_json(comparison.to_dict())
    else:
        _print(comparison)
    if html:
        page = differences.html(comparison, *pictures)
        with console.whole_file(html) as temporary:
            temporary.write_text(page, encoding="utf-8")
        console.note("" if json_output else f"report {html}")
    click.get_current_context().exit(0 if comparison.same else 1)


def _print(comparison: Comparison) -> None:
    """A line per step, what differs below it, and the verdict last."""
    from fo1agent.agent.differences import verdict

    a, b = comparison.a, comparison.b
    for line in (a.run.question, f"  A  {a.name}", f"  B  {b.name}"):
        console.result(line)
    _block("ran with", comparison.settings)
    for number, pair in enumerate(comparison.steps, 1):
        times = " → ".join("–" if step is None else f"{step.seconds:.2f} s" for step in (pair.a, pair.b))
        mark = console.Styled("differs", "red") if pair.differences else "same   "
        console.result(f"{number:>3}  {pair.shown.tool:<9} {_cut(pair.shown.text):<46} ", mark, f"  {times}")
        _rows(pair.differences)
    _block("plan", comparison.plan)
    _block("answer", comparison.answer)
    for note in comparison.notes:
        console.result(note)
    console.result(verdict(comparison))


def _block(heading: str, differences: tuple[Difference, ...]) -> None:
    if differences:
        console.result(heading)
        _rows(differences)


def _rows(differences: tuple[Difference, ...]) -> None:
    for one in differences:
        console.result(f"       {one.what:<14} {console.one_line(one.a)}  →  {console.one_line(one.b)}")


def _cut(text: str, letters: int = 46) -> str:
    line = console.one_line(text)
    return line if len(line) <= letters else line[: letters - 1] + "…"
