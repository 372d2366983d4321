"""The `fo1agent` command: parse, call, print. What it calls is imported when it is called, so `--help` comes at once.

Results go to stdout, all else to stderr. Exit 0: done, an abstention included; 1: an expected failure, told in one line
`error: …`; 2: wrong usage; 130: Ctrl-C.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from fo1agent.cli import annotate as cli_annotate
from fo1agent.cli import calibrate as cli_calibrate
from fo1agent.cli import console
from fo1agent.cli import data as cli_data
from fo1agent.cli import examples as cli_examples
from fo1agent.cli import loading as cli_loading
from fo1agent.cli import masks as cli_masks
from fo1agent.cli import models as cli_models
from fo1agent.cli import ocr as cli_ocr
from fo1agent.cli import own_tools as cli_own_tools
from fo1agent.cli import pictures as cli_pictures
from fo1agent.cli import serve as cli_serve
from fo1agent.cli import trace as cli_trace
from fo1agent.cli import train as cli_train
from fo1agent.engines import is_address
from fo1agent.errors import FO1AgentError
from fo1agent.extras import torch_needed
from fo1agent.presets import WITH_BOXES
from fo1agent.version import __version__

if TYPE_CHECKING:
    from fo1agent.pictures.ocr import OCR, TextLine
    from fo1agent.regions.regions import Box, Region, Regions
    from fo1agent.results import PointRef
    from fo1agent.runs.answer import Answer
    from fo1agent.scene import Model, Scene
    from fo1agent.traces.store import Place


T = TypeVar("T")


@contextmanager
def _stopped_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends with the code that shells give it, and without a word; click would exit with 1, as if it failed."""
    try:
        with console.ctrl_c():
            yield
    except KeyboardInterrupt:
        if console.interactive():
            console.passed()  # the terminal has written ^C
        raise SystemExit(130) from None


class _Commands(click.Group):
    """A group whose expected failures are one line on stderr and exit 1."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            with _stopped_by_ctrl_c():
                return super().make_context(*args, **kwargs)
        except click.UsageError as exc:
            raise console.printable(exc) from None

    def invoke(self, ctx: click.Context) -> Any:
        # transformers imports torchao where it is installed, and of two of its enums torch then says that they are old.
        logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
        try:
            with _stopped_by_ctrl_c(), torch_needed("This command"):
                return super().invoke(ctx)
        except click.UsageError as exc:
            raise console.printable(exc) from None
        except (FO1AgentError, click.ClickException, OSError) as exc:
            if isinstance(exc, BrokenPipeError):
                raise
            message = exc.format_message() if isinstance(exc, click.ClickException) else str(exc)
            console.error(message.replace(WITH_BOXES, cli_loading.with_boxes(self._options_of(ctx))))
            ctx.exit(1)

    def _options_of(self, ctx: click.Context) -> set[str]:
        """The names of what the invoked command takes; of a group, of what any of its commands does."""
        invoked = self.commands.get(ctx.invoked_subcommand or "")
        commands = invoked.commands.values() if isinstance(invoked, click.Group) else [invoked] if invoked else []
        return {param.name for command in commands for param in command.params if param.name}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # In the order they stand below: what people want first.


class _BoxType(click.ParamType):
    """`x1,y1,x2,y2` in pixels of the picture, or any other form that `types.read_box` takes."""

    name = "x1,y1,x2,y2"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Box:
        if isinstance(value, tuple):
            return value
        from fo1agent.errors import BoxError
        from fo1agent.regions.regions import read_box

        bare = value.strip()[:1] not in ("[", "(", "{")
        try:
            return read_box(value.replace(",", " ").split() if bare else value)  # blanks alone part them as well
        except BoxError:
            self.fail(f"{value!r} is not four numbers x1,y1,x2,y2 (pixels).", param, ctx)


class _Words(click.ParamType):
    """Text; bytes that are no UTF-8, which Python hands on as halves of characters, are spelled out."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value.encode("utf-8", "backslashreplace").decode("utf-8")


_MOST_BOXES = 4_000_000  # bytes of a file of them
_COUNTED = 40  # regions that `count` spells out

BOX = _BoxType()
FILE_IN = click.Path(exists=True, dir_okay=False, path_type=Path)
FILE_OUT = click.Path(dir_okay=False, path_type=Path)
FOLDER_IN = click.Path(exists=True, file_okay=False, path_type=Path)

as_json = click.option("--json", "json_output", is_flag=True, help="Print one JSON object instead of text.")
draw_to = click.option(
    "--draw", type=console.PICTURE_OUT, metavar="OUT.png", help="Write the picture with its regions."
)
threshold_option = click.option(
    "--threshold", type=click.FloatRange(0, 1), help="Keep regions with at least this score."
)


def _scene_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that opens a picture."""
    boxes = click.option("--boxes", type=FILE_IN, metavar="FILE.json", help="Use these boxes: [[x1, y1, x2, y2], …].")
    return cli_serve.server_options(cli_loading.model_options(boxes(command)))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='\b\nExample:\n  fo1agent ask street.jpg "How many people are to the left of the bus?" --draw out.png',
)
@click.version_option(__version__, prog_name="fo1agent")
@cli_serve.server_options
@click.pass_context
def main(ctx: click.Context, server: str | None, token: str | None) -> None:
    """Ask questions about pictures, and see the regions that each answer rests on.

    IMAGE is a file, an http(s) address, or - for stdin.
    """
    console.keep_streams_apart()
    ctx.with_resource(console.logs())
    if server:
        takers = [name for name, one in main.commands.items() if any(part.name == "server" for part in one.params)]
        if ctx.invoked_subcommand not in takers:
            raise click.UsageError(f"{ctx.invoked_subcommand} does not take --server; {', '.join(takers)} do.")
        ctx.default_map = {name: {"server": server, "token": token} for name in takers}


@main.command(
    epilog='\b\nExample:\n  fo1agent ask street.jpg "How many people are to the left of the bus?" --draw out.png'
)
@cli_pictures.images_argument
@click.argument("question", type=_Words())
@_scene_options
@cli_ocr.ocr_options
@draw_to
@click.option("--html", type=console.PAGE_OUT, metavar="OUT.html", help="Write a report: answer, steps, picture.")
@click.option("--trace", type=FILE_OUT, metavar="OUT.jsonl", help="Save the run, for `replay`, `diff` and `report`.")
@cli_serve.deciding_options
@as_json
def ask(
    images: Sequence[str],
    question: str,
    draw: Path | None,
    html: Path | None,
    trace: Path | None,
    planner: str,
    mode: str,
    verify: bool,
    json_output: bool,
    **opening: Any,
) -> None:
    """Answer QUESTION about each IMAGE, with the regions that prove it.

    If the variable FO1AGENT_TRACES names a folder, every run is saved there.
    """
    import time

    outputs = {"--draw": draw, "--html": html, "--trace": trace}
    names = cli_pictures.named(images, outputs, ("QUESTION", question))
    began = time.perf_counter()
    model, opened = _ready(names, outputs, **opening)
    saved = cli_trace.place(trace)
    patient = cli_trace.Patient(saved) if saved else None
    agent = _who_answers(model, trace, patient, planner=planner, mode=mode, verify=verify)
    loaded = time.perf_counter()
    on_step = None if json_output or len(names) > 1 else console.step

    def asked(scenes: Sequence[Scene]) -> Sequence[Answer | FO1AgentError]:
        if len(names) == 1:
            return [agent.ask(scenes[0], question, on_step=on_step)]
        if opening["server"]:
            return _of_each(lambda scene: agent.ask(scene, question), scenes)
        return agent.batch([(scene, question) for scene in scenes])

    def answered(scene: Scene, answer: Answer) -> cli_pictures.Looked:
        # Both, since a person waits for both. A server has loaded its model before.
        times = [f"answered in {time.perf_counter() - loaded:.1f} s"]
        if not opening["server"]:
            times.insert(0, f"loaded in {loaded - began:.1f} s")

        def save() -> None:
            _save(scene, answer, patient, draw, html)
            if on_step:
                _last_line(answer, ", ".join(times), model.name, {"picture": draw, "report": html})

        return cli_pictures.Looked(
            {"image": scene.id, **answer.to_dict()}, _in_a_line(answer), lambda: _print_answer(answer), save
        )

    cli_pictures.each(names, opened, asked, answered, json_output)


@main.command(epilog="\b\nExample:\n  fo1agent chat street.jpg")
@cli_pictures.images_argument
@cli_serve.server_options
@cli_loading.model_options
@cli_ocr.ocr_options
@cli_serve.deciding_options
@click.pass_context
def chat(ctx: click.Context, images: Sequence[str], planner: str, mode: str, verify: bool, **opening: Any) -> None:
    """Ask about pictures, question after question.

    The model is loaded once, and a question may go back to those before it: "How many dogs are there?", "And what
    colour are they?" /help lists the commands. Questions may come from a file or a pipe as well; then the exit code is
    1 if one of them failed. If the variable FO1AGENT_TRACES names a folder, every run is saved there.
    """
    from fo1agent.cli import chat as cli_chat
    from fo1agent.cli import inline
    from fo1agent.traces.store import Memory

    names = cli_pictures.named(images, {})
    if "-" in names:
        raise click.UsageError("Questions come from stdin, so no picture can; name a file.")
    saved = cli_trace.place()
    cell = inline.sixel_cell() if console.shows_pictures() else None  # before the model is loaded, when little is typed
    model, opened = _ready(names, {}, boxes=None, **opening)
    memory = None if opening["server"] else Memory()
    agent = _who_answers(model, None, memory, planner=planner, mode=mode, verify=verify)
    talking = cli_chat.Chat(opened, agent, memory, saved, cell)
    if not talking.open(names):
        ctx.exit(1)
    talking.run()
    if talking.failed and not talking.typed:
        ctx.exit(1)


@main.command(epilog='\b\nExample:\n  fo1agent ground street.jpg "red car" person --threshold 0.4 --json')
@click.argument("words", nargs=-1, required=True, type=_Words(), metavar="IMAGE… PHRASE…")
@cli_examples.example_options
@_scene_options
@threshold_option
@draw_to
@as_json
def ground(
    words: Sequence[str],
    like: Sequence[cli_examples.Named],
    unlike: Sequence[cli_examples.Named],
    threshold: float | None,
    draw: Path | None,
    json_output: bool,
    **opening: Any,
) -> None:
    """Find the regions that each PHRASE names, or with --like those that show the same kind of thing as examples do.

    What follows the first IMAGE is one too if it has the ending of a picture, such as .jpg, or a *, or is an address.
    """
    images, phrases = cli_pictures.parted(words)
    if like or unlike:
        if not like:
            raise click.UsageError("--unlike says what is not meant of what --like shows; give --like as well.")
        if phrases:
            raise click.UsageError(f"--like shows what to look for; leave out {phrases[0]!r}, or --like.")
        console.check_outputs({"--draw": draw}, [one.picture for one in (*like, *unlike)])
        _ground_like(images, like, unlike, threshold, draw, json_output, opening)
        return

    def found_in(scene: Scene) -> _Found:
        found = scene.ground_many(phrases, threshold=threshold)

        def text() -> None:
            for phrase, regions in found.items():
                console.regions(regions)
                nothing = "" if len(regions) else f"nothing looks like “{phrase}”"
                console.note(_unknown(regions.note, regions) or nothing)
                console.note(" · ".join([*console.judged_by(regions.by), *console.not_judged(regions.not_judged)]))

        line: list[console.Part] = []
        for phrase, regions in found.items():
            line += [" · " if line else "", f"“{console.one_line(phrase)}”  "]
            line += console.scored(regions) or [console.one_line(regions.note) or "nothing"]
            line += console.aside(*console.judged_by(regions.by), *console.not_judged(regions.not_judged))
        fields = {"phrases": {phrase: _fields(regions) for phrase, regions in found.items()}}
        return _Found(fields, line, text, [region for regions in found.values() for region in regions])

    _look_at_each(images, ("PHRASE…", phrases[-1] if phrases else None), found_in, draw, json_output, opening)


def _ground_like(
    images: Sequence[str],
    like: Sequence[cli_examples.Named],
    unlike: Sequence[cli_examples.Named],
    threshold: float | None,
    draw: Path | None,
    json_output: bool,
    opening: Mapping[str, Any],
) -> None:
    """`ground` by examples."""
    given: dict[str, Any] = {}

    def prepare(model: Any) -> None:
        made = cli_examples.opened([*like, *unlike], model)
        given.update({"like": made[: len(like)], **({"unlike": made[len(like) :]} if unlike else {})})

    def found_in(scene: Scene) -> _Found:
        found = scene.ground(**given, threshold=threshold)
        nothing = "nothing is like the examples"

        def text() -> None:
            console.regions(found)
            console.note("" if len(found) else nothing)

        named = {"like": [one.text for one in like], "unlike": [one.text for one in unlike]}
        return _Found({**named, **_fields(found)}, console.scored(found) or [nothing], text, found)

    _look_at_each(images, None, found_in, draw, json_output, opening, prepare=prepare)


@main.command(epilog="\b\nExample:\n  fo1agent count street.jpg person --within 0,0,320,480")
@cli_pictures.images_argument
@click.argument("phrase", type=_Words())
@click.option("--within", type=BOX, help="Only inside this box, in pixels.")
@_scene_options
@threshold_option
@draw_to
@as_json
def count(
    images: Sequence[str],
    phrase: str,
    within: Box | None,
    threshold: float | None,
    draw: Path | None,
    json_output: bool,
    **opening: Any,
) -> None:
    """Count what PHRASE names in each IMAGE.

    Prints the number. If words of PHRASE cannot be judged, prints its bounds ("0 to 6"), and those words on stderr.
    """

    def counted_in(scene: Scene) -> _Found:
        counted = scene.count(phrase, within=within, threshold=threshold)
        number = console.bounds(counted.at_least, counted.at_most) if counted.value is None else str(counted.value)
        scored = console.scored(counted.regions[:_COUNTED])
        if len(counted.regions) > _COUNTED:
            scored.append(f"  … {len(counted.regions)} in all; --json tells each")
        judged = [*console.judged_by(counted.by), *console.not_judged(counted.not_judged)]

        def text() -> None:
            console.result(number)
            console.note(*scored)
            console.note(" · ".join(judged))
            console.note(_unknown(counted.note, counted.regions))

        numbers = {"value": counted.value, "at_least": counted.at_least, "at_most": counted.at_most}
        fields = {**_fields(counted.regions), "not_judged": list(counted.not_judged), "by": list(counted.by)}
        line = [number, *(["  ", *scored] if scored else []), *console.aside(*judged, counted.note)]
        return _Found({**numbers, "phrase": phrase, **fields}, line, text, counted.regions)

    _look_at_each(images, ("PHRASE", phrase), counted_in, draw, json_output, opening)


@main.command(epilog="\b\nExample:\n  fo1agent read street.jpg --region r3")
@cli_pictures.images_argument
@click.option("--region", metavar="ID", help="Only this region, by its id: r3.")
@click.option("--box", type=BOX, help="Only inside this box, in pixels.")
@click.option(
    "--source",
    type=click.Choice(["ocr", "model"]),
    default="ocr",
    show_default=True,
    help="What reads: ocr, or a model with an open vocabulary.",
)
@_scene_options
@cli_ocr.ocr_options
@draw_to
@as_json
def read(
    images: Sequence[str],
    region: str | None,
    box: Box | None,
    source: Literal["ocr", "model"],
    draw: Path | None,
    json_output: bool,
    **opening: Any,
) -> None:
    """Read the text in each IMAGE, or in one part of it."""
    target = _target(region, box)

    def read_in(scene: Scene) -> _Found:
        text = scene.read(target, source=source)
        # A server does not tell how lines are turned.
        lines = [_line(line) | ({} if opening["server"] else {"turn": line.turn}) for line in text.lines]
        fields = {"text": text.text, "lines": lines, **_fields(text.regions)}
        return _said(text.text, "no text found", fields, text.regions)

    _look_at_each(images, None, read_in, draw, json_output, opening)


@main.command(epilog="\b\nExample:\n  fo1agent describe street.jpg --box 40,60,220,310 --json")
@cli_pictures.images_argument
@click.option("--region", metavar="ID", help="Only this region, by its id: r3.")
@click.option("--box", type=BOX, help="Only inside this box, in pixels.")
@_scene_options
@draw_to
@as_json
def describe(
    images: Sequence[str], region: str | None, box: Box | None, draw: Path | None, json_output: bool, **opening: Any
) -> None:
    """Say what each IMAGE, or one part of it, shows."""
    target = _target(region, box)

    def described_in(scene: Scene) -> _Found:
        described = scene.describe(target)
        fields = {"text": described.text, "label": described.label, "score": described.score}
        fields |= _fields(described.regions)
        return _said(described.text, "nothing I can name", fields, described.regions)

    _look_at_each(images, None, described_in, draw, json_output, opening)


@main.command(epilog="\b\nExample:\n  fo1agent segment street.jpg dog --segmenter ultralytics:sam2_t.pt --out dog.png")
@cli_pictures.images_argument
@click.argument("phrase", type=_Words())
@click.option(
    "--out",
    type=FILE_OUT,
    metavar="OUT.png|OUT.json",
    callback=cli_masks.check_ending,
    help="Write the masks: a picture that is white where the things are, or COCO annotations.",
)
@_scene_options
@draw_to
@as_json
def segment(
    images: Sequence[str], phrase: str, out: Path | None, draw: Path | None, json_output: bool, **opening: Any
) -> None:
    """Find which pixels of each IMAGE are of what PHRASE names, or of the region with that id (r3).

    Needs --segmenter, here or where the server of --server was started.
    """

    def segmented_in(scene: Scene) -> _Found:
        result = scene.segment(phrase)
        cli_masks.write(result, out)
        return _lines_of(result, [cli_masks.line(one) for one in result.masks], {"phrase": phrase})

    _look_at_each(images, ("PHRASE", phrase), segmented_in, draw, json_output, opening, {"--out": out})


@main.command(epilog='\b\nExample:\n  fo1agent point screen.png "red button" --json')
@cli_pictures.images_argument
@click.argument("phrase", type=_Words())
@_scene_options
@draw_to
@as_json
def point(images: Sequence[str], phrase: str, draw: Path | None, json_output: bool, **opening: Any) -> None:
    """Find where to click in each IMAGE to hit what PHRASE names, or the region with that id (r3).

    Prints x and y in pixels; --json has them from 0 to 1 and from 0 to 1000 as well.
    """

    def pointed_in(scene: Scene) -> _Found:
        result = scene.point(phrase)
        lines = [f"{name_of(one.region)}  {one.x:g} {one.y:g}" for one in result.points]
        return _lines_of(result, lines, {"phrase": phrase})

    from fo1agent.regions.ids import name_of

    _look_at_each(images, ("PHRASE", phrase), pointed_in, draw, json_output, opening)


@main.command(epilog="\b\nExample:\n  fo1agent tools --format openai > tools.json")
@click.option(
    "--format",
    "dialect",
    type=click.Choice(["openai", "responses", "anthropic", "json"]),
    help="Print JSON for this provider; openai means Chat Completions.",
)
@as_json
def tools(dialect: str | None, json_output: bool) -> None:
    """List the tools that a language model can call.

    `ask`, which is an agent itself, is not among those of --format: a loop that calls tools has no need of it.
    """
    from fo1agent.agent.asking import with_asking
    from fo1agent.tools.registry import registry

    if dialect:
        from fo1agent.integrations.schemas import render, rough_tokens

        declared = render(dialect)
        console.result_json(declared)
        console.note(f"{len(declared)} tools, about {rough_tokens(declared)} tokens")
        return
    known = with_asking(registry()).values()
    if json_output:
        from fo1agent.tools.schemas import of_result

        console.result_json([{**tool.schema(), "result": of_result(tool.result)} for tool in known])
        return
    width = max(len(tool.name) for tool in known) + 1
    for tool in known:
        console.result(console.Styled(f"{tool.name:<{width}}", bold=True), f" {tool.description.splitlines()[0]}")


@main.command("tool", epilog="\b\nExample:\n  fo1agent tool relate street.jpg a=person relation=left_of b=bus")
@click.argument("name")
@click.argument("image")
@click.argument("pairs", nargs=-1, type=_Words(), metavar="[NAME=VALUE]…")
@cli_own_tools.own_tools
@_scene_options
@cli_ocr.ocr_options
@draw_to
@as_json
def call_tool(
    name: str,
    image: str,
    pairs: Sequence[str],
    tools: Sequence[str],
    draw: Path | None,
    json_output: bool,
    **opening: Any,
) -> None:
    """Run the tool NAME on IMAGE; `fo1agent tools` lists them.

    Prints the result in a line. A tool that only the server knows, and that gives no value or text, prints its JSON.
    """
    from types import SimpleNamespace

    from fo1agent.agent.asking import with_asking
    from fo1agent.results import bound, line_of, value_of
    from fo1agent.tools.registry import registry
    from fo1agent.tools.telling import as_json as as_values
    from fo1agent.tools.telling import attachments

    own = {tool.name: tool for tool in cli_own_tools.load_tools(tools)}
    known = with_asking({**registry(), **own})
    if name not in known and not opening["server"]:
        raise click.UsageError(f"There is no tool {name!r}. There are: {', '.join(known)}.")
    if draw and name not in known:
        raise click.UsageError(
            f"--draw needs a tool that is known here, and only the server knows {name}. Pass --tool."
        )
    given = cli_own_tools.arguments(name, pairs, known.get(name))
    scene = _open(image, {"--draw": draw}, **opening)
    result = cli_own_tools.called(scene, name, given, own if opening["server"] else known)
    told = result if isinstance(result, dict) else None  # of a tool that only the server knows
    result = SimpleNamespace(**told) if told is not None else result
    regions = bound(result, scene, given)
    if json_output:
        fields = as_values(result) if told is None else told
        console.result_json({"tool": name, "image": scene.id, "result": fields})
    elif told is not None and value_of(result) is None:
        console.result_json(told)
    else:
        console.result(console.one_line(line_of(result, regions)))
    drawn = attachments(result)
    if draw and drawn:
        with console.whole_file(draw) as temporary:
            temporary.write_bytes(drawn[0])
    else:
        _draw(scene, regions, draw)


@main.command(epilog="\b\nExample:\n  fo1agent mcp --allow ~/Pictures --allow-url upload.wikimedia.org")
@click.option(
    "--allow",
    type=click.Path(file_okay=False, path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Pictures may be opened from here. Repeatable; without it, the current folder.",
)
@click.option(
    "--allow-url",
    multiple=True,
    metavar="HOST",
    help="Pictures may be fetched from this host. Repeatable; without it, none.",
)
@click.option("--http", is_flag=True, help="Serve streamable HTTP at /mcp instead of stdin and stdout.")
@click.option("--host", default="127.0.0.1", show_default=True, help="With --http: the address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="With --http: 0 for any.")
@cli_own_tools.own_tools
@cli_loading.model_options
@cli_ocr.ocr_options
def mcp(
    allow: Sequence[Path],
    allow_url: Sequence[str],
    http: bool,
    host: str,
    port: int,
    tools: Sequence[str],
    **loading: Any,
) -> None:
    """Serve the tools to a Model Context Protocol host, such as an assistant or an editor.

    Runs until it is stopped. With --http, callers must send the value of the variable FO1AGENT_TOKEN as bearer token;
    without that variable, the server listens only on loopback addresses.
    """
    import os

    with _uncollected():
        from fo1agent.agent.asking import with_asking
        from fo1agent.integrations import mcp as front
        from fo1agent.pictures.image import ImageLimits
        from fo1agent.presets import choose
        from fo1agent.tools.registry import registry

    mine = cli_own_tools.load_tools(tools)
    # Hosts start commands without a shell, so nobody else would expand the ~.
    folders = tuple(folder.expanduser().resolve() for folder in allow) or (Path.cwd(),)
    for folder in folders:
        if not folder.is_dir():
            raise click.UsageError(f"--allow {folder}: no such folder.")
    if not allow and folders[0] == Path(folders[0].anchor):
        # Some desktop hosts start servers in the root folder; nobody chose that.
        console.note("Started in the root folder, so no path may be opened. Name folders with --allow DIR.")
        folders = ()
    if not is_address(loading["engine"]):
        choose(loading["model_name"])  # what is wrong with its name is said now, and so for what reads
    ocr = cli_ocr.reader(loading.pop("ocr_lang"), loading.pop("ocr_set"))
    limits = ImageLimits(folders=folders, hosts=tuple(allow_url))
    offered = with_asking(registry(*mine)).values()
    server = front.make_server(lambda: _load(**loading, ocr=ocr, needs_boxes=False), limits, offered)
    if http:
        token = os.environ.get("FO1AGENT_TOKEN")
        front.serve_http(server, host, port, token, ready=lambda url: console.note(f"Listening on {url}"))
    else:
        front.serve_stdio(server)


@contextmanager
def _uncollected() -> Iterator[None]:
    """For imports: nothing looks for garbage among the thousands of classes that they make, now or later.

    It would take an eighth of the time that a host waits for `fo1agent mcp`.
    """
    looks = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looks:
            gc.enable()


@main.command(epilog="\b\nExample:\n  fo1agent doctor --json")
@as_json
@click.pass_context
def doctor(ctx: click.Context, json_output: bool) -> None:
    """Check that this installation works; exit 1 if not."""
    from fo1agent.cli.doctor import examine

    checks = []
    for check in examine():
        checks.append(check)
        if not json_output:
            console.check(check.name, check.ok, check.needed, check.detail)
    well = all(check.ok for check in checks if check.needed)
    if json_output:
        console.result_json({"ok": well, "checks": [vars(check) for check in checks]})
    if not well:
        ctx.exit(1)


@main.command(epilog="\b\nExample:\n  fo1agent export runs/nano/model --to onnx")
@click.argument("folder", type=FOLDER_IN)
@click.option("--to", "form", type=click.Choice(["onnx"]), required=True, help="The format of the graphs.")
def export(folder: Path, form: Literal["onnx"]) -> None:
    """Write a model's graphs beside its weights, for --engine onnx."""
    from fo1agent.model.onnx_export import export as write

    console.result_text(f"Wrote {write(folder)}.")


main.add_command(cli_annotate.annotate)
main.add_command(cli_models.models)
main.add_command(cli_serve.serve)
main.add_command(cli_train.finetune)
main.add_command(cli_train.train)
main.add_command(cli_data.data)
main.add_command(cli_calibrate.calibrate)
main.add_command(cli_trace.replay)
main.add_command(cli_trace.diff)
main.add_command(cli_trace.report)


@main.group("eval", epilog="\b\nExample:\n  fo1agent eval qa questions.jsonl --images photos/ --json")
def evaluate() -> None:
    """Measure a model."""


@evaluate.command(epilog="\b\nExample:\n  fo1agent eval parity ../shared/fixtures/fo1-tiny")
@click.argument("folder", type=FOLDER_IN, metavar="DIR")
@click.option("--double", is_flag=True, help="Compute in float64, which tells rounding from mistakes.")
@as_json
@click.pass_context
def parity(ctx: click.Context, folder: Path, double: bool, json_output: bool) -> None:
    """Compare with reference tensors; exit 1 unless all agree."""
    from fo1agent.evaluate.parity import run

    report = run(folder, double=double)
    if json_output:
        console.result_json(report.to_dict())
    else:
        console.result_text(str(report))
    if not report.ok:
        ctx.exit(1)


limit_option = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N.")


@evaluate.command(epilog="\b\nExample:\n  fo1agent eval detection --instances instances_val.json --images val2017/")
@click.option("--instances", type=FILE_IN, required=True, metavar="FILE.json", help="COCO instances.")
@click.option("--images", type=FOLDER_IN, required=True, metavar="DIR", help="The folder of the pictures.")
@limit_option
@cli_loading.model_options
@as_json
def detection(instances: Path, images: Path, limit: int | None, json_output: bool, **loading: Any) -> None:
    """Detection, end to end: COCO AP and recall@100, in percent."""
    from fo1agent.evaluate.detection import evaluate as measure

    report = measure(_load(**loading), instances, images, limit=limit)
    for picture, reason in report.failures:
        console.note(f"failed: {picture}: {console.one_line(reason)}")
    console.figures(report.to_dict(), json_output)


@evaluate.command(epilog="\b\nExample:\n  fo1agent eval regions --instances instances_val.json --images val2017/")
@click.option("--instances", type=FILE_IN, required=True, metavar="FILE.json", help="COCO instances.")
@click.option("--images", type=FOLDER_IN, required=True, metavar="DIR", help="The folder of the pictures.")
@click.option("--details", type=FILE_OUT, metavar="OUT.jsonl", help="Write the result for every box.")
@limit_option
@cli_loading.model_options
@as_json
def regions(
    instances: Path, images: Path, details: Path | None, limit: int | None, json_output: bool, **loading: Any
) -> None:
    """Boxes drawn by hand: the share named right."""
    from fo1agent.evaluate.regions import evaluate as measure

    console.check_outputs({"--details": details}, [instances])
    report = measure(_load(**loading), instances, images, limit=limit)
    for picture, reason in report.failures:
        console.note(f"failed: {picture}: {console.one_line(reason)}")
    if json_output:
        console.result_json(report.to_dict())
    else:
        console.figures(report.summary(), False)
        for (name, said), boxes in report.confusions().most_common(10):
            console.result(f"{boxes:>5}  {name} called {said}")
    if details:
        console.write_json_lines(details, (box.to_dict() for box in report.boxes))


@evaluate.command(
    epilog="\b\nExample:\n  fo1agent eval scores --instances instances_val.json --images val2017/ --plot out.png"
)
@click.option("--instances", type=FILE_IN, required=True, metavar="FILE.json", help="COCO instances.")
@click.option("--images", type=FOLDER_IN, required=True, metavar="DIR", help="The folder of the pictures.")
@click.option("--existence", type=FILE_IN, metavar="FILE.jsonl", help="Yes/no questions about some of these pictures.")
@click.option("--plot", type=console.PICTURE_OUT, metavar="OUT.png", help="Plot the reliability of the scores.")
@click.option(
    "--resamples", type=click.IntRange(0), default=300, show_default=True, help="Resamplings for the ± figures."
)
@limit_option
@cli_loading.model_options
@as_json
def scores(
    instances: Path,
    images: Path,
    existence: Path | None,
    plot: Path | None,
    resamples: int,
    limit: int | None,
    json_output: bool,
    **loading: Any,
) -> None:
    """Calibration of the scores, other rankings, and absent things."""
    from fo1agent.agent.loop import Agent
    from fo1agent.evaluate.plots import reliability
    from fo1agent.evaluate.scores import evaluate as measure

    console.check_outputs({"--plot": plot}, [instances, existence])
    model = _load(**loading)
    report = measure(
        model, instances, images, existence=existence, ask=Agent(model).ask, resamples=resamples, limit=limit
    )
    for picture, reason in report.detection.failures:
        console.note(f"failed: {picture}: {console.one_line(reason)}")
    console.figures(report.to_dict() if json_output else report.summary(), json_output)
    if plot:
        with console.whole_file(plot) as temporary:
            reliability(report.bins, report.calibration_error).save(temporary)


@evaluate.command(epilog="\b\nExample:\n  fo1agent eval likeness --instances instances_val.json --images val2017/")
@click.option("--instances", type=FILE_IN, required=True, metavar="FILE.json", help="COCO instances.")
@click.option("--images", type=FOLDER_IN, required=True, metavar="DIR", help="The folder of the pictures.")
@click.option(
    "--examples",
    type=click.IntRange(1, 20),
    multiple=True,
    default=(1, 3),
    show_default=True,
    help="So many of a kind.",
)
@limit_option
@cli_loading.model_options
@as_json
def likeness(
    instances: Path, images: Path, examples: Sequence[int], limit: int | None, json_output: bool, **loading: Any
) -> None:
    """Things that are like examples of other pictures: the share found, counts, and calibration of the scores."""
    from fo1agent.evaluate.likeness import evaluate as measure

    report = measure(_load(**loading), instances, images, examples=examples, limit=limit)
    for picture, reason in report.failures.items():
        console.note(f"failed: {picture}: {console.one_line(reason)}")
    if json_output:
        console.result_json(report.to_dict())
        return
    for given, figures in report.figures.items():
        console.result(f"{given}: ", ", ".join(f"{name} {value}" for name, value in figures.to_dict().items()))


@evaluate.command(epilog="\b\nExample:\n  fo1agent eval qa questions.jsonl --images photos/ --details answers.jsonl")
@click.argument("file", type=FILE_IN, metavar="FILE.jsonl")
@click.option("--images", type=FOLDER_IN, required=True, metavar="DIR", help="The folder of the pictures.")
@click.option("--details", type=FILE_OUT, metavar="OUT.jsonl", help="Write the result for every question.")
@limit_option
@cli_loading.model_options
@as_json
def qa(file: Path, images: Path, details: Path | None, limit: int | None, json_output: bool, **loading: Any) -> None:
    """Questions with known answers: the share answered right."""
    from fo1agent.agent.loop import Agent
    from fo1agent.evaluate.qa import evaluate as measure

    console.check_outputs({"--details": details}, [file])
    model = _load(**loading)
    agent = Agent(model)
    report = measure(model.open, agent.ask, file, images, limit=limit, batch=agent.batch)
    for outcome in report.failures:
        console.note(f"failed: line {outcome.question.line}: {console.one_line(outcome.error)}")
    console.figures(report.to_dict(), json_output)
    if details:
        console.write_json_lines(details, (outcome.to_dict() for outcome in report.outcomes))


@evaluate.command(epilog="\b\nExample:\n  fo1agent eval colors composites/dev.jsonl --images composites/ --json")
@click.argument("file", type=FILE_IN, metavar="EXAMPLES.jsonl")
@click.option(
    "--images", type=FOLDER_IN, metavar="DIR", help="Folder of the pictures; without it, the folder of the file."
)
@click.option(
    "--held-out",
    type=FILE_IN,
    metavar="FILE.json",
    help="Pairs to count separately; without it, held_out.json beside the file.",
)
@limit_option
@cli_loading.model_options
@as_json
def colors(
    file: Path, images: Path | None, held_out: Path | None, limit: int | None, json_output: bool, **loading: Any
) -> None:
    """Phrases with a colour, such as "red cup": the share found."""
    from fo1agent.evaluate.colors import evaluate as measure
    from fo1agent.evaluate.colors import read_held_out

    beside = file.with_name("held_out.json")
    pairs_file = held_out or (beside if beside.is_file() else None)
    pairs = read_held_out(pairs_file) if pairs_file else []
    report = measure(_load(**loading), file, images or file.parent, pairs, limit=limit)
    for picture, reason in report.failures:
        console.note(f"failed: {picture}: {console.one_line(reason)}")
    console.figures(report.to_dict(), json_output)


def _load(
    model_name: str | None,
    ocr_lang: str | None = None,
    ocr_set: Sequence[str] = (),
    ocr: OCR | None = None,
    needs_boxes: bool = True,
    **running: Any,
) -> Model:
    from fo1agent.loading import load

    reader = ocr or cli_ocr.reader(ocr_lang, ocr_set)
    if running.get("compile"):
        console.note("The first picture is compiled for, which takes minutes.")
    model = load(model_name, ocr=reader, needs_boxes=needs_boxes, **running)
    cli_loading.tell_tiles(model)
    return model


def _ready(
    images: Sequence[str],
    outputs: Mapping[str, Path | None],
    boxes: Path | None,
    server: str | None,
    token: str | None,
    **loading: Any,
) -> tuple[Model, Callable[[str], Scene]]:
    """The model, loaded, and what opens one of `images` with the boxes of a file, if given, in place of its own.

    With a server both are there, and are used in the same way. Before anything else, `outputs` are checked: option →
    the file that the command is to write.
    """
    from fo1agent.pictures.image import ImageLimits, load_image

    console.check_outputs(outputs, [*images, boxes])
    # One byte over the limit is enough for the intake to refuse it, however much more there is.
    stdin = load_image(console.stdin_bytes(ImageLimits().max_bytes + 1), name="stdin") if "-" in images else None
    given = _read_boxes(boxes) if boxes else None
    model: Any = cli_serve.connected(server, token) if server else _load(**loading, needs_boxes=given is None)

    def opened(image: str) -> Scene:
        cli_pictures.check_no_folder(image)
        return model.open(stdin if image == "-" else image, boxes=given)

    return model, opened


def _open(image: str, outputs: Mapping[str, Path | None], **opening: Any) -> Scene:
    """One picture, opened."""
    return _ready([image], outputs, **opening)[1](image)


def _who_answers(model: Any, trace: Path | None, place: Place | None, **deciding: Any) -> Any:
    """An agent of the model, which saves its runs; a server is one itself, and saves its own."""
    from fo1agent.agent.loop import Agent

    if not hasattr(model, "ask"):
        return Agent(model, traces=place, **deciding)
    if deciding != {"planner": "rules", "mode": "plan", "verify": False}:
        raise click.UsageError("--planner, --mode and --verify are the server's business; leave them out.")
    if trace:
        raise click.UsageError("--trace saves what runs here; leave it out with --server.")
    return model


@dataclass(frozen=True)
class _Found:
    """What was found in one picture: as `Looked`, and the regions to draw."""

    fields: Mapping[str, Any]
    line: Sequence[console.Part]
    text: Callable[[], None]
    regions: Iterable[Region]
    points: Sequence[PointRef] = ()


def _look_at_each(
    images: Sequence[str],
    last: tuple[str, str | None] | None,
    look: Callable[[Scene], _Found],
    draw: Path | None,
    json_output: bool,
    opening: Mapping[str, Any],
    written: Mapping[str, Path | None] | None = None,
    prepare: Callable[[Any], None] = lambda model: None,
) -> None:
    """Open each picture, print what is found in it, and draw it where that was asked for. What `look` writes besides
    is told in `written`: option → file. `prepare` is called with the model before."""
    outputs = {"--draw": draw, **(written or {})}
    names = cli_pictures.named(images, outputs, last)
    model, opened = _ready(names, outputs, **opening)
    prepare(model)

    def looked(scene: Scene, found: _Found) -> cli_pictures.Looked:
        save = partial(_draw, scene, found.regions, draw, found.points)
        return cli_pictures.Looked(found.fields, found.line, found.text, save)

    cli_pictures.each(names, opened, lambda scenes: _of_each(look, scenes), looked, json_output)


def _of_each(look: Callable[[Scene], T], scenes: Sequence[Scene]) -> list[T | FO1AgentError]:
    """What a look at each of several open pictures gives, or why not."""
    if len(scenes) > 1:
        from fo1agent.agent.sharing import of_each

        return of_each(look, scenes)
    try:
        return [look(scene) for scene in scenes]
    except FO1AgentError as exc:
        return [exc]


def _said(text: str, nothing: str, fields: Mapping[str, Any], regions: Iterable[Region]) -> _Found:
    """A text as it is found in a picture; `nothing` tells that there is none."""

    def show() -> None:
        console.result_text(text)
        console.note("" if text else nothing)

    return _Found(fields, [console.one_line(text) or nothing], show, regions)


def _lines_of(result: Any, lines: Sequence[str], fields: Mapping[str, Any]) -> _Found:
    """What a tool gave for each region that a phrase names, in a line each."""
    nothing = result.note or "nothing found"
    not_judged = console.not_judged(result.not_judged)

    def show() -> None:
        for line in lines:
            console.result(line)
        console.note(result.note if lines else nothing)
        console.note(" · ".join(not_judged))

    told = {**fields, **result.model_dump(mode="json")}
    line = [" · ".join(lines) or console.one_line(nothing), *console.aside(*not_judged)]
    return _Found(told, line, show, result.regions, getattr(result, "points", ()))


def _print_answer(answer: Answer) -> None:
    console.result_text(answer.text)
    for note in answer.notes:
        console.note(f"  {console.one_line(note)}")


def _in_a_line(answer: Answer) -> list[console.Part]:
    evidence = console.evidence(answer.evidence)
    return [console.one_line(answer.text), *(["  "] if evidence else []), *evidence, *console.aside(*answer.notes)]


def _last_line(answer: Answer, times: str, model: str, files: Mapping[str, Path | None]) -> None:
    told = [
        *console.not_judged(answer.not_judged, answer.bounds),
        times,
        model,
        *(f"{what} {path}" for what, path in files.items() if path),
    ]
    evidence = console.evidence(answer.evidence)
    console.note("  ", *evidence, " · " if evidence else "", console.one_line(" · ".join(told)))


def _read_boxes(path: Path) -> Any:
    from fo1agent.bounded import parse, read_file
    from fo1agent.errors import BoxError
    from fo1agent.regions.regions import check_boxes

    try:
        return check_boxes(parse(read_file(path, _MOST_BOXES), _MOST_BOXES))
    except BoxError as exc:
        raise BoxError(f"{path}: {exc}") from exc
    except ValueError as exc:
        raise BoxError(f"{path}: no list of boxes ({exc}). Write [[x1, y1, x2, y2], …] in pixels.") from exc


def _target(region: str | None, box: Box | None) -> str | Box | None:
    if region and box:
        raise click.UsageError("Pass --region or --box, not both.")
    return region or box


def _save(scene: Scene, answer: Answer, patient: cli_trace.Patient | None, *paths: Path | None) -> None:
    if patient:
        patient.check(scene.id)
    for path in paths:
        if path:
            answer.save(path)


def _draw(scene: Scene, regions: Iterable[Region], path: Path | None, points: Iterable[PointRef] = ()) -> None:
    if path:
        with console.whole_file(path) as temporary:
            scene.annotate(regions, points=points).save(temporary)


def _line(line: TextLine) -> dict[str, Any]:
    return {"text": line.text, "box": [round(v, 2) for v in line.box], "score": round(line.score, 4)}


def _unknown(note: str, found: Regions) -> str:
    """A note, and what to do where it says that there is no word for what was looked for."""
    from fo1agent.words.phrases import TO_KNOW

    return f"{note} {TO_KNOW}" if note and not len(found) else note


def _fields(regions: Regions) -> dict[str, Any]:
    return {
        "regions": regions.to_dicts(),
        "none_score": regions.none_score,
        "not_judged": list(regions.not_judged),
        "note": regions.note,
        "by": list(regions.by),
    }


if __name__ == "__main__":
    main()
