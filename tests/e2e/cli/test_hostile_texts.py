"""Text of others at a shell: whatever a chat model, an endpoint, a server, a picture, a label, a trace, a record or a
file's name says, nothing of it steers the terminal, on stdout or stderr, in colour or in a pipe, as text or as JSON."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fo1agent.cli import main
from fo1agent.pictures.ocr import TextLine
from fo1agent.scene import Model
from fo1agent.untrusted import UntrustedText
from tests.fakes import FakePredictor
from tests.hostile import EVIL, Hostile, steering, whole
from tests.scripted_chat import count_plan

OBJECTS = [((10.0, 10.0, 60.0, 60.0), "person", 0.9), ((70.0, 10.0, 120.0, 60.0), "bus", 0.8)]


class Labelling(FakePredictor):
    """Gives its names with something behind them."""

    def labels(self, encoding: Any) -> Any:
        names, scores = super().labels(encoding)
        return [name and name + EVIL for name in names], scores


def evil_model(**fields: Any) -> Model:
    def read(image: Any, min_score: float = 0.5) -> list[TextLine]:
        return [TextLine(UntrustedText(f"STOP{EVIL}"), (12.0, 12.0, 50.0, 30.0), 0.9)]

    return Model(
        Labelling(OBJECTS, name=f"fake{EVIL}", replies={"": f"<answer>it is{EVIL}</answer>"}, **fields), ocr=read
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a picture in it; models that are loaded there are hostile."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fo1agent.loading.load", lambda *args, **kwargs: evil_model())
    Image.new("RGB", (160, 120), "gray").save("a.png")
    return tmp_path


def run(*arguments: str, color: bool = True) -> Result:
    """Run the command as at a terminal; a bug in it is raised here."""
    result = CliRunner().invoke(main, arguments, color=color)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def checked(result: Result, exit_code: int = 0) -> Result:
    """It was printed, and it steers nothing."""
    assert result.exit_code == exit_code, result.output
    assert "owned" in result.output
    assert steering(result.stdout) == []
    assert steering(result.stderr) == []
    return result


def strings_of(value: Any) -> list[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        return [value]
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part in parts for text in strings_of(part)]


# ---- pictures ----


@pytest.mark.parametrize("json_output", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "a.png", "What does the picture say?"],
        ["ask", "a.png", "What is this?"],
        ["ask", "a.png", f"How many {EVIL} are there?"],
        ["ground", "a.png", f"zebra{EVIL}"],
        ["ground", "a.png", "person", f"per{EVIL}son"],
        ["count", "a.png", f"sleepy{EVIL} person"],
        ["read", "a.png"],
        ["describe", "a.png"],
        ["describe", "a.png", "--region", "r0"],
    ],
)
def test_what_a_picture_a_model_or_a_question_says(folder: Path, arguments: list[str], json_output: bool) -> None:
    result = checked(run(*arguments, *(["--json"] if json_output else [])))
    if json_output:
        assert any("\x1b]0;owned" in one for one in strings_of(json.loads(result.stdout)))  # as it was, once parsed
    piped = run(*arguments, color=False)
    assert "\x1b" not in piped.output
    assert steering(piped.output) == []


def test_what_a_model_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fo1agent.loading.load", lambda *args, **kwargs: evil_model(vocabulary=None))
    checked(run("read", "a.png", "--source", "model"))
    told = checked(run("read", "a.png", "--source", "model", "--json"))
    assert any("\x1b]0;owned" in one for one in strings_of(json.loads(told.stdout)))


# ---- chat models and endpoints ----


def message(**said: Any) -> list[bytes]:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **said}, "finish_reason": "stop"}
    head = {"id": f"x{EVIL}", "object": "chat.completion", "created": 0, "model": f"m{EVIL}"}
    return whole(
        {**head, "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
    )


def calls(name: str, **arguments: Any) -> list[bytes]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return message(tool_calls=[{"id": f"c{EVIL}", "type": "function", "function": function}])


@pytest.fixture
def planned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Asks with a chat model that says one thing after the other."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def ask(mode: str, *replies: list[bytes]) -> Result:
        waiting = list(replies)
        with Hostile(lambda line, body: waiting.pop(0) if len(waiting) > 1 else waiting[0]).running() as server:
            monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
            how = ["--planner", f"openai:some-model{EVIL}", "--mode", mode, "--trace", f"{mode}.jsonl"]
            return run("ask", "a.png", "How many people are there?", *how)

    return ask


@pytest.mark.parametrize(
    ("mode", "replies"),
    [
        ("plan", [calls("plan", steps=[], why_not=f"I will not{EVIL}")]),
        ("plan", [calls("plan", steps=[{"op": f"fly{EVIL}"}])]),
        ("plan", [calls(f"fly{EVIL}")]),
        ("plan", [calls("plan", **{f"x{EVIL}": 1})]),
        ("plan", [calls("plan", steps=count_plan(f"zebra{EVIL}"))]),
        ("plan", [whole({"error": {"message": f"no{EVIL}"}}, "400 Bad")]),
        ("plan", [whole({}, "302 Found", "Location: http://owned.example/\x7f")]),
        ("steps", [calls("count", phrase="person"), message(content=f"There is one.{EVIL}")]),
        ("steps", [calls("count", phrase="person"), calls("answer", text=f"One{EVIL}", value=f"1{EVIL}", claims=[])]),
        ("steps", [calls("count", phrase=f"person{EVIL}"), calls("answer", text="None", value=None, cannot_tell=True)]),
        ("steps", [calls("count", **{f"x{EVIL}": EVIL}), calls("answer", text="None", cannot_tell=True)]),
        ("steps", [calls(f"fly{EVIL}"), whole({"error": {"message": f"no{EVIL}"}}, "400 Bad")]),
    ],
)
def test_what_a_chat_model_or_its_endpoint_says(
    planned: Callable[..., Result], mode: str, replies: list[list[bytes]]
) -> None:
    checked(planned(mode, *replies))


def test_what_a_server_of_eyes_says(folder: Path) -> None:
    answers = {
        "/healthz": whole({"status": "ok", "model": f"m{EVIL}"}),
        "/v1/images": whole({"error": {"message": f"no{EVIL}", "code": "x"}}, "422 No"),
    }
    with Hostile(lambda line, body: answers[line.split()[1]]).running() as server:
        checked(run("--server", server.url, "read", "a.png"), exit_code=1)


# ---- traces ----


def test_what_a_trace_says(planned: Callable[..., Result], folder: Path) -> None:
    planned("plan", calls("plan", steps=count_plan("person")))
    evil = json.dumps(EVIL)[1:-1]
    text = Path("plan.jsonl").read_text(encoding="utf-8")
    for word in ("How many people", "There is 1 person", "“person”", '"fake', '"given', "some-model"):
        text = text.replace(word, word + evil)
    name = f"b{EVIL.replace('/', '')}.jsonl"
    Path(name).write_text(text, encoding="utf-8")
    again = ["replay", name, "--image", "a.png", "--model", "x"]
    checked(run("diff", "plan.jsonl", name), exit_code=1)
    checked(run("diff", "plan.jsonl", name, "--json"), exit_code=1)
    checked(run(*again), exit_code=1)
    checked(run(*again, "--json"), exit_code=1)
    checked(run("report", name, f"r{EVIL}.html", "--image", "a.png"))
    Path(name).write_text(text.replace('"format"', f'"{evil}"'), encoding="utf-8")
    checked(run("diff", "plan.jsonl", name), exit_code=2)
    checked(run("report", name, "r.html"), exit_code=1)


LINES = "zebra\nerror: all is lost\r\n  evidence r0\u2028note"


@pytest.mark.parametrize("arguments", [["ground", "a.png", LINES], ["count", "a.png", f"sleepy {LINES} person"]])
def test_no_text_makes_lines_that_look_like_ours(folder: Path, arguments: list[str]) -> None:
    result = run(*arguments)
    assert "lost" in result.output
    assert not [line for line in result.output.splitlines() if line.lstrip().startswith(("error:", "evidence", "note"))]


def test_a_result_of_several_lines_stays_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(image: Any, min_score: float = 0.5) -> list[TextLine]:
        return [
            TextLine(UntrustedText(text), (12.0, y, 50.0, y + 8), 0.9)
            for text, y in (("ONE\tWAY", 12.0), ("STREET", 40.0))
        ]

    monkeypatch.setattr("fo1agent.loading.load", lambda *args, **kwargs: Model(FakePredictor(OBJECTS), ocr=read))
    assert run("read", "a.png").stdout == "ONE\tWAY\nSTREET\n"


# ---- data, usage, files ----


def test_what_records_say(folder: Path) -> None:
    record = {"id": 1, "file_name": "a.png", "width": 160, "height": 120, "boxes": [[1, 1, 50, 50]]}
    rows = [{**record, "id": k, "labels": [f"cup{EVIL}"]} for k in range(3)]
    name = f"e{EVIL}.jsonl"
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in [*rows, {f"x{EVIL}": 1}]), encoding="utf-8")
    checked(run("data", "check", name), exit_code=0)
    checked(run("data", "check", name, "--json"), exit_code=0)
    checked(run("data", "convert", name, f"out{EVIL}", "--to", "examples"))
    checked(run("data", "preview", name, "--out", f"s{EVIL}.png"))


@pytest.mark.parametrize(
    "arguments",
    [
        [f"fly{EVIL}"],
        [f"--fly{EVIL}"],
        ["tools", f"extra{EVIL}"],
        ["diff", "a", "b", f"c{EVIL}"],
        ["ask", "a.png", "x", f"--{EVIL}"],
        ["ask", "a.png", "x", "--draw", f"a.gif{EVIL}"],
        ["count", "a.png", "x", "--within", f"1,2{EVIL}"],
        ["ground", "a.png", "x", "--boxes", f"b{EVIL}"],
        ["eval", "qa", f"q{EVIL}", "--images", "."],
        ["data", "check", f"q{EVIL}"],
    ],
)
def test_what_is_wrong_with_an_argument(folder: Path, arguments: list[str]) -> None:
    checked(run(*arguments), exit_code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", f"none{EVIL}.png", "x"],
        ["ask", f"http://none{EVIL}/a.png", "x"],
        ["ask", "a.png", "Is there a bus?", "--draw", f"none{EVIL}/a.png"],
        ["read", "a.png", "--region", f"r{EVIL}"],
        ["ask", "a.png", "x", "--planner", f"none{EVIL}:x"],
        ["report", f"none{EVIL}", "r.html"],
        ["train", "align", f"none{EVIL}"],
    ],
)
def test_what_could_not_be_done(folder: Path, arguments: list[str]) -> None:
    result = checked(run(*arguments), exit_code=1)
    assert result.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("json_output", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "a.png", "a.png", "What does the picture say?"],
        ["ground", "a.png", "a.png", f"zebra{EVIL}"],
        ["count", "a.png", "a.png", f"sleepy{EVIL} person"],
        ["read", "a.png", "a.png"],
        ["describe", "a.png", "a.png"],
        ["describe", f"none{EVIL}.png", f"none{EVIL}.png"],
    ],
)
def test_what_several_pictures_say(folder: Path, arguments: list[str], json_output: bool) -> None:
    failed = "none" in arguments[1]
    result = checked(run(*arguments, *(["--json"] if json_output else [])), exit_code=int(failed))
    assert len(result.stdout.splitlines()) == 2


def test_what_libraries_warn_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: Any, **kwargs: Any) -> Model:
        logging.getLogger("some.library").warning("beware %s", EVIL)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"beware{EVIL}", stacklevel=1)
        return evil_model()

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr("fo1agent.loading.load", load)
    before = logging.lastResort, warnings.showwarning
    result = checked(run("count", "a.png", "person"))
    assert result.stderr.count("beware") >= 2
    assert (logging.lastResort, warnings.showwarning) == before
