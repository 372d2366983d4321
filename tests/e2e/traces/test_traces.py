"""Recorded runs at the shell, on the embedded model: saved, run again, compared, shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fo1agent.cli import main
from fo1agent.traces import store as traces

QUESTION = "How many remotes are to the right of the cat, and is there a dog?"


def run(*arguments: str) -> Result:
    """Run the command in this process; a bug in it is raised here, as its traceback would be printed."""
    result = CliRunner().invoke(main, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def recorded(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture and the trace of a question about it."""
    folder = tmp_path_factory.mktemp("recorded")
    shutil.copy(repo / "fo1agent" / "data" / "demo" / "cat.jpg", folder / "cat.jpg")
    result = run("ask", str(folder / "cat.jpg"), QUESTION, "--trace", str(folder / "run.jsonl"))
    assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture
def folder(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(recorded)
    return recorded


def changed(path: Path, to: Path, **fields: Any) -> None:
    """A copy of a trace with fields of its first line changed."""
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    to.write_text("\n".join([json.dumps({**json.loads(first), **fields}), *rest, ""]), encoding="utf-8")


def test_a_recorded_run_is_complete_and_no_partial_file_is_left(folder: Path) -> None:
    trace = traces.read("run.jsonl")
    assert trace.complete
    assert trace.run.model is not None
    assert trace.run.model.name == "fo1-nano"
    assert len(trace.run.model.fingerprint) == 64
    assert not list(folder.glob("*.partial"))


def test_replay_runs_it_again_and_finds_it_the_same(folder: Path) -> None:
    result = run("replay", "run.jsonl", "--html", "replay.html")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "The same."
    assert "find" in result.stdout
    page = Path("replay.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 2
    assert "<script" not in page


def test_replay_takes_either_engine_and_both_find_the_same(folder: Path) -> None:
    result = run("replay", "run.jsonl", "--engine", "torch")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "The same.")
    refused = run("replay", "run.jsonl", "--engine", "onnx", "--device", "cuda")
    assert refused.exit_code == 2
    assert "Engine onnx computes on the cpu" in refused.stderr


def test_replay_of_another_picture_must_be_wanted_and_differs(folder: Path, repo: Path) -> None:
    other = str(repo / "fo1agent" / "data" / "demo" / "bus.jpg")
    result = run("replay", "run.jsonl", "--image", other)
    assert result.exit_code == 2
    assert "is not the picture of run.jsonl" in result.stderr
    assert "--other-image" in result.stderr
    result = run("replay", "run.jsonl", "--image", other, "--other-image", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["same"] is False
    assert {one["what"] for one in told["settings"]} >= {"picture", "picture size"}
    assert told["answer"]


def test_pictures_whose_short_ids_are_equal_are_told_apart(folder: Path) -> None:
    image = json.loads(Path("run.jsonl").read_text(encoding="utf-8").splitlines()[0])["image"]
    sha = image["sha256"]
    forged = sha[:20] + ("0" if sha[20] != "0" else "1") + sha[21:]
    changed(Path("run.jsonl"), Path("forged.jsonl"), image={**image, "sha256": forged})
    result = run("replay", "forged.jsonl")
    assert result.exit_code == 2
    assert f"it is img_{sha[:21]}, the recorded one img_{forged[:21]}. " in result.stderr


def test_replay_of_given_boxes_gives_them_again(folder: Path) -> None:
    Path("boxes.json").write_text("[[49, 40, 408, 398], [432, 196, 610, 281]]", encoding="utf-8")
    result = run("ask", "cat.jpg", "Is there a cat?", "--boxes", "boxes.json", "--trace", "boxes.jsonl")
    assert result.exit_code == 0, result.stderr
    result = run("replay", "boxes.jsonl", "--json")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["settings"] == []


def test_diff_tells_what_two_runs_have_not_in_common(folder: Path) -> None:
    changed(Path("run.jsonl"), Path("other.jsonl"), platform="Plan 9")
    same = run("diff", "run.jsonl", "other.jsonl")
    assert same.exit_code == 0
    assert "Plan 9" in same.stdout
    lines = [json.loads(line) for line in Path("run.jsonl").read_text(encoding="utf-8").splitlines()]
    lines[-1]["answer"]["text"] = "None at all."
    Path("other.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    different = run("diff", "run.jsonl", "other.jsonl", "--html", "diff.html")
    assert different.exit_code == 1
    assert different.stdout.splitlines()[-1] == "Different: the answer."
    assert "None at all." in Path("diff.html").read_text(encoding="utf-8")


def test_a_trace_of_an_older_version_is_shown_run_again_and_compared(folder: Path, repo: Path) -> None:
    older = str(repo / "tests" / "data" / "traces" / "before_not_judged.jsonl")
    assert run("report", older, "older.html", "--image", "cat.jpg").exit_code == 0
    assert "There is 1 dead cat." in Path("older.html").read_text(encoding="utf-8")
    result = run("replay", older, "--image", "cat.jpg", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    differences = {one["what"]: (one["a"], one["b"]) for pair in told["steps"] for one in pair["differences"]}
    assert differences["label of r1"] == ("dead cat", "cat")
    assert differences["not judged"] == ("none", "dead")
    answer = {one["what"]: (one["a"], one["b"]) for one in told["answer"]}
    assert answer["value"] == ("1, yes", "none, yes")
    assert answer["bounds"] == ("none", "0 to 1, none")


def test_what_could_not_be_judged_is_saved_shown_and_found_the_same(folder: Path) -> None:
    question = "How many dead cats are there?"
    run("ask", "cat.jpg", question, "--trace", "dead.jsonl")
    assert traces.read("dead.jsonl").answer.bounds == {"at_least": 0, "at_most": 1}
    assert run("replay", "dead.jsonl").stdout.splitlines()[-1] == "The same."
    assert run("report", "dead.jsonl", "dead.html").exit_code == 0
    assert "Not judged: “dead” · 0 to 1" in Path("dead.html").read_text(encoding="utf-8")


def test_diff_without_the_picture_writes_the_page_and_says_so(folder: Path) -> None:
    image = json.loads(Path("run.jsonl").read_text(encoding="utf-8").splitlines()[0])["image"]
    changed(Path("run.jsonl"), Path("elsewhere.jsonl"), image={**image, "source": "/no/such/picture.jpg"})
    result = run("diff", "elsewhere.jsonl", "run.jsonl", "--html", "diff.html")
    assert result.exit_code == 0
    assert "without the picture of elsewhere.jsonl" in result.stderr
    assert Path("diff.html").read_text(encoding="utf-8").count("data:image/jpeg") == 1


def test_report_shows_a_recorded_run(folder: Path) -> None:
    result = run("report", "run.jsonl", "run.html")
    assert result.exit_code == 0, result.stderr
    page = Path("run.html").read_text(encoding="utf-8")
    assert QUESTION in page
    assert "remotes are to the right of the cat" in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["replay", "none.jsonl"], "none.jsonl: cannot be read"),
        (["diff", "run.jsonl", "cat.jpg"], "cat.jpg, line 1"),
        (["replay", "big.jsonl"], "recorded with some-3b. Say where its weights are with --model"),
        (["replay", "web.jsonl"], "is not at hand; it came from: https://example.com/cat.jpg"),
        (["replay", "run.jsonl", "--other-image"], "--other-image needs --image"),
    ],
)
def test_what_cannot_be_done_exits_2_with_one_line(folder: Path, arguments: list[str], told: str) -> None:
    first = json.loads(Path("run.jsonl").read_text(encoding="utf-8").splitlines()[0])
    changed(Path("run.jsonl"), Path("big.jsonl"), model={**first["model"], "name": "some-3b"})
    changed(Path("run.jsonl"), Path("web.jsonl"), image={**first["image"], "source": "https://example.com/cat.jpg"})
    result = run(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""


def test_a_folder_in_the_environment_gets_every_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FO1AGENT_TRACES", "all")
    Image.new("RGB", (64, 48), "gray").save("grey.png")
    assert run("ask", "grey.png", "Is there a cat?").exit_code == 0
    assert run("ask", "grey.png", "Is there a cat?", "--trace", "one.jsonl").exit_code == 0
    (path,) = Path("all").iterdir()
    assert traces.read(path).run.question == "Is there a cat?"
    assert traces.read("one.jsonl").complete


def test_a_trace_that_cannot_be_written_is_said(folder: Path) -> None:
    result = run("ask", "cat.jpg", "Is there a cat?", "--trace", "no/such/folder/run.jsonl")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
