"""The `fo1agent` command on the embedded model: results, streams, files, exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fo1agent.cli import main

ANSWER_FIELDS = {"text", "value", "abstained", "reason", "evidence", "regions", "steps"}


@pytest.fixture
def folder(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the bundled photograph in it."""
    shutil.copy(repo / "fo1agent" / "data" / "demo" / "bus.jpg", tmp_path / "bus.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    """Run the command in this process; a bug in it is raised here, as its traceback would be printed."""
    result = CliRunner().invoke(main, arguments, input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def picture_format(name: str) -> str | None:
    with Image.open(name) as picture:
        picture.load()
        return picture.format


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_ask_prints_the_answer_on_stdout_and_the_steps_on_stderr(folder: Path) -> None:
    result = run("ask", "bus.jpg", "Is there a bus?")
    assert result.exit_code == 0
    assert result.stdout.startswith("Yes")
    assert len(result.stdout.splitlines()) == 1
    assert "find" in result.stderr
    assert "“bus”" in result.stderr
    assert re.search(r"\n  evidence r\d+ · loaded in \d+\.\d s, answered in \d+\.\d s · fo1-nano\n$", result.stderr)


def test_ask_json_has_the_fields_of_the_answer_and_says_nothing_else(folder: Path) -> None:
    result = run("ask", "bus.jpg", "Is there a bus?", "--json")
    answer = parsed(result)
    assert result.stderr == ""
    assert set(answer) >= ANSWER_FIELDS
    assert answer["value"] is True
    assert answer["abstained"] is False
    regions = {region["id"]: region for region in answer["regions"]}
    assert set(answer["evidence"]) <= set(regions)
    for region in regions.values():
        assert set(region) >= {"id", "box", "label", "score"}
        x1, y1, x2, y2 = region["box"]
        assert 0 <= x1 < x2 <= 416
        assert 0 <= y1 < y2 <= 312


def test_ask_that_cannot_tell_abstains_and_exits_0(folder: Path) -> None:
    answer = parsed(run("ask", "bus.jpg", "Why is the sky so far away from my heart?", "--json"))
    assert answer["abstained"] is True
    assert answer["reason"]
    assert answer["value"] is None


def test_ask_writes_picture_report_and_trace(folder: Path) -> None:
    result = run("ask", "bus.jpg", "Is there a bus?", "--draw", "a.png", "--html", "a.html", "--trace", "a.jsonl")
    assert result.exit_code == 0, result.stderr
    assert picture_format("a.png") == "PNG"
    assert "<html" in Path("a.html").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in Path("a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [lines[0]["type"], lines[-1]["type"]] == ["run", "answer"]
    assert [line["step"]["tool"] for line in lines if line["type"] == "step_end"] == ["find", "exists"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.html", "a.jsonl", "a.png", "bus.jpg"]


def test_ask_reads_the_picture_from_stdin(folder: Path) -> None:
    from_file = parsed(run("ask", "bus.jpg", "Is there a bus?", "--json"))
    from_stdin = parsed(run("ask", "-", "Is there a bus?", "--json", stdin=Path("bus.jpg").read_bytes()))
    assert from_stdin["regions"] == from_file["regions"]


def test_ground_prints_a_line_per_region(folder: Path) -> None:
    result = run("ground", "bus.jpg", "bus")
    assert result.exit_code == 0
    name, score, label, *_ = result.stdout.split()
    assert name.startswith("r")
    assert 0 <= float(score) <= 1
    assert label == "bus"


def test_a_count_of_very_many_spells_out_the_likeliest(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fo1agent.cli.command._COUNTED", 1)
    result = run("count", str(repo / "fo1agent/data/demo/cat.jpg"), "remote")
    assert (result.stdout, result.stderr) == ("2\n", "r0 0.82  … 2 in all; --json tells each\n")


def test_ground_json_has_one_entry_per_phrase(folder: Path) -> None:
    phrases = parsed(run("ground", "bus.jpg", "bus", "car", "--json"))["phrases"]
    assert list(phrases) == ["bus", "car"]
    assert phrases["bus"]["regions"][0]["label"] == "bus"
    assert set(phrases["car"]) == {"regions", "none_score", "not_judged", "note", "by"}


def test_ground_names_the_words_that_it_could_not_judge(folder: Path) -> None:
    result = run("ground", "bus.jpg", "stolen bus")
    assert result.stdout.split()[2] == "bus"
    assert "not judged: stolen" in result.stderr
    found = parsed(run("ground", "bus.jpg", "stolen bus", "--json"))["phrases"]["stolen bus"]
    assert (found["not_judged"], found["regions"][0]["label"]) == (["stolen"], "bus")


def test_ground_of_an_unknown_word_says_so_and_exits_0(folder: Path) -> None:
    result = run("ground", "bus.jpg", "quasar")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "quasar" in result.stderr


def test_threshold_1_leaves_nothing(folder: Path) -> None:
    assert parsed(run("count", "bus.jpg", "bus", "--threshold", "1", "--json"))["value"] == 0


def test_count_prints_a_number_and_names_what_was_counted(folder: Path) -> None:
    result = run("count", "bus.jpg", "bus", "--draw", "counted.png")
    assert int(result.stdout) == result.stderr.count("r") >= 1
    assert picture_format("counted.png") == "PNG"


def test_count_prints_bounds_where_a_word_could_not_be_judged(folder: Path) -> None:
    result = run("count", "bus.jpg", "stolen bus")
    assert result.stdout == "0 to 1\n"
    assert "not judged: stolen" in result.stderr
    counted = parsed(run("count", "bus.jpg", "stolen bus", "--json"))
    assert (counted["value"], counted["at_least"], counted["at_most"]) == (None, 0, 1)
    assert counted["not_judged"] == ["stolen"]
    assert [region["label"] for region in counted["regions"]] == ["bus"]


def test_count_of_what_is_not_there_needs_no_word_judged(folder: Path) -> None:
    result = run("count", "bus.jpg", "stolen zebra")
    assert result.stdout == "0\n"
    assert "not judged: stolen" in result.stderr


def test_count_of_an_unknown_word_is_no_number(folder: Path) -> None:
    result = run("count", "bus.jpg", "quasar")
    assert result.stdout == "0 or more\n"
    assert "does not know" in result.stderr
    counted = parsed(run("count", "bus.jpg", "quasar", "--json"))
    assert (counted["value"], counted["at_most"], counted["not_judged"]) == (None, None, ["quasar"])


def test_ask_names_what_it_could_not_judge_with_its_bounds(folder: Path) -> None:
    result = run("ask", "bus.jpg", "How many stolen buses are there?", "--html", "open.html")
    assert "stolen" in result.stdout
    assert "not judged: stolen · 0 to 1" in result.stderr
    assert "Not judged: “stolen” · 0 to 1" in Path("open.html").read_text(encoding="utf-8")
    answer = parsed(run("ask", "bus.jpg", "How many stolen buses are there?", "--json"))
    assert (answer["value"], answer["abstained"]) == (None, True)
    assert (answer["not_judged"], answer["bounds"]) == (["stolen"], {"at_least": 0, "at_most": 1})


def test_count_within_a_box_away_from_it_is_0(folder: Path) -> None:
    assert run("count", "bus.jpg", "bus", "--within", "0,0,60,60").stdout == "0\n"


@pytest.mark.parametrize("box", ["0,0,60,60", "0 0 60 60", "0, 0, 60, 60", "[0, 0, 60, 60]", '{"box": [0, 0, 60, 60]}'])
def test_a_box_is_taken_in_every_plain_form(folder: Path, box: str) -> None:
    described = parsed(run("describe", "bus.jpg", "--box", box, "--json"))
    assert [region["id"] for region in described["regions"]] == ["b0_0_60_60"]


def test_read_gives_text_and_lines(folder: Path) -> None:
    read = parsed(run("read", "bus.jpg", "--box", "118,129,416,312", "--json"))
    assert "PREPAY" in read["text"]
    assert {"text", "box", "score"} <= set(read["lines"][0])


def test_read_of_a_region_takes_the_id_that_ground_gave(folder: Path) -> None:
    region = parsed(run("ground", "bus.jpg", "bus", "--json"))["phrases"]["bus"]["regions"][0]["id"]
    assert run("read", "bus.jpg", "--region", region).exit_code == 0


def test_describe_says_something(folder: Path) -> None:
    assert run("describe", "bus.jpg").stdout.strip()
    assert parsed(run("describe", "bus.jpg", "--box", "118,129,416,312", "--json"))["text"]


def test_describe_of_nothing_says_so(folder: Path) -> None:
    Image.new("RGB", (320, 240), "gray").save("gray.png")
    Path("boxes.json").write_text("[[20, 20, 120, 120]]", encoding="utf-8")
    for arguments in (("--box", "20,20,120,120"), ("--boxes", "boxes.json")):
        result = run("describe", "gray.png", *arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "\n", "nothing I can name\n")
    fields = parsed(run("describe", "gray.png", "--box", "20,20,120,120", "--json"))
    assert fields["text"] == ""
    assert fields["label"] is not None
    assert fields["score"] < 0.01


def test_read_tells_boxes_in_hundredths_and_how_lines_are_turned(folder: Path) -> None:
    with Image.open("bus.jpg") as picture:
        picture.rotate(180).save("turned.png")
    for name, turn in (("bus.jpg", 0), ("turned.png", 180)):
        lines = parsed(run("read", name, "--json"))["lines"]
        assert turn in {line["turn"] for line in lines}
        assert all(round(v, 2) == v for line in lines for v in line["box"])


def test_given_boxes_are_the_regions(folder: Path) -> None:
    Path("boxes.json").write_text("[[118, 129, 416, 312], [16, 249, 140, 309]]", encoding="utf-8")
    found = parsed(run("ground", "bus.jpg", "bus", "--boxes", "boxes.json", "--threshold", "0", "--json"))
    boxes = [region["box"] for region in found["phrases"]["bus"]["regions"]]
    assert [118, 129, 416, 312] in boxes
    assert len(boxes) <= 2


def test_tools_lists_every_tool_with_its_schema() -> None:
    names = {"look", "ground", "count", "read", "describe", "inspect", "relate", "zoom", "annotate", "ask"}
    listed = run("tools").stdout
    assert {line.split()[0] for line in listed.splitlines()} >= names
    schemas = {tool["name"]: tool for tool in parsed(run("tools", "--json"))}
    assert set(schemas) >= names
    assert "phrase" in schemas["ground"]["parameters"]["properties"]


def test_doctor_finds_this_installation_well() -> None:
    report = parsed(run("doctor", "--json"))
    assert report["ok"] is True
    assert {check["name"] for check in report["checks"]} >= {"python", "packages", "weights", "reading", "asking"}


def test_eval_qa_counts_right_answers(folder: Path) -> None:
    records = [
        {"image": "bus.jpg", "question": "Is there a bus?", "answer": "yes", "kind": "exists"},
        {"image": "bus.jpg", "question": "How many buses are there?", "answer": 7, "kind": "count"},
    ]
    Path("qa.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    figures = parsed(run("eval", "qa", "qa.jsonl", "--images", ".", "--details", "out.jsonl", "--json"))
    assert figures["accuracy"] == 0.5
    assert figures["by_kind"] == {"count": 0, "exists": 1}
    assert figures["abstained"] == 0
    details = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["correct"] for row in details] == [True, False]


def test_eval_detection_measures_end_to_end(folder: Path) -> None:
    truth = {
        "images": [{"id": 1, "file_name": "bus.jpg"}],
        "categories": [{"id": 6, "name": "bus"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 6, "bbox": [118, 129, 298, 183], "area": 54534, "iscrowd": 0}
        ],
    }
    Path("instances.json").write_text(json.dumps(truth), encoding="utf-8")
    figures = parsed(run("eval", "detection", "--instances", "instances.json", "--images", ".", "--json"))
    assert figures["AP50"] == 100
    assert figures["recall@100"] == 100
    assert (figures["images"], figures["failures"]) == (1, 0)


def test_eval_regions_and_scores_measure_one_picture(folder: Path) -> None:
    with Image.open("bus.jpg") as picture:
        width, height = picture.size
    truth = {
        "images": [{"id": 1, "file_name": "bus.jpg", "width": width, "height": height}],
        "categories": [{"id": 6, "name": "bus"}, {"id": 17, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 6, "bbox": [118, 129, 298, 183], "iscrowd": 0}],
    }
    Path("instances.json").write_text(json.dumps(truth), encoding="utf-8")
    asked = {"file_name": "bus.jpg", "question": "Is there a cat in the image?", "answer": "no"}
    Path("existence.jsonl").write_text(json.dumps(asked) + "\n", encoding="utf-8")
    data = ("--instances", "instances.json", "--images", ".")
    named = parsed(run("eval", "regions", *data, "--details", "boxes.jsonl", "--json"))
    assert (named["labels"]["all"], named["boxes"]) == (100, 1)
    assert json.loads(Path("boxes.jsonl").read_text(encoding="utf-8"))["label"] == "bus"
    assert "class_mean" in run("eval", "regions", *data).stdout
    more = ("--existence", "existence.jsonl", "--plot", "plot.png", "--resamples", "2")
    figures = parsed(run("eval", "scores", *data, *more, "--json"))
    assert (figures["AP50"], figures["existence"], figures["false_per_absent_class"]) == (100, 1, 0)
    assert Path("plot.png").stat().st_size > 1000
    assert "calibration_error" in run("eval", "scores", *data, "--resamples", "2").stdout


@pytest.fixture
def golden(shared_dir: Path, tmp_path: Path) -> Path:
    """A folder with one small case of the reference tensors; `tests/parity` compares them all."""
    source, folder = shared_dir / "fixtures" / "fo1-tiny", tmp_path / "golden"
    folder.mkdir()
    for part in ("checkpoint", "images"):
        (folder / part).symlink_to(source / part)
    cases = json.loads((source / "cases.json").read_text(encoding="utf-8"))
    case = next(case for case in cases if case["name"] == "d_97x65_3")
    (folder / "cases.json").write_text(json.dumps([case]), encoding="utf-8")
    (folder / "cases").mkdir()
    shutil.copyfile(source / case["tensors"], folder / case["tensors"])
    return folder


def test_eval_parity_prints_a_verdict_per_tensor(golden: Path) -> None:
    report = run("eval", "parity", str(golden))
    assert report.exit_code == 0, report.stdout
    assert "d_97x65_3" in report.stdout
    assert "float32" in report.stdout.splitlines()[-1]
    told = parsed(run("eval", "parity", str(golden), "--double", "--json"))
    assert (told["ok"], told["dtype"]) == (True, "float64")


def test_eval_parity_exits_1_when_a_tensor_differs(golden: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = golden / "cases" / "d_97x65_3.safetensors"
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if "logits" in name)
    save_file({**tensors, name: tensors[name] + 1}, path)
    result = run("eval", "parity", str(golden))
    assert result.exit_code == 1
    assert "DIFFERS" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "absent.jpg", "Is there a bus?"),
        ("ask", "text.txt", "Is there a bus?"),
        ("ask", "empty.jpg", "Is there a bus?"),
        ("ask", ".", "Is there a bus?"),
        ("ask", "http://127.0.0.1/a.jpg", "Is there a bus?"),
        ("ask", "ftp://example.org/a.jpg", "Is there a bus?"),
        ("ask", "-", "Is there a bus?"),
        ("ask", "bus.jpg", "Is there a bus?", "--model", "absent-model"),
        ("ask", "bus.jpg", "Is there a bus?", "--proposer", "nonsense"),
        ("ask", "bus.jpg", "Is there a bus?", "--draw", "absent/out.png"),
        ("ask", "bus.jpg", "Is there a bus?", "--boxes", "text.txt"),
        ("ask", "bus.jpg", "Is there a bus?", "--boxes", "boxes.json"),
        ("ask", "bus.jpg", "Is there a bus?", "--device", "nonsense"),
        ("read", "bus.jpg", "--region", "r999"),
        ("read", "bus.jpg", "--box", "50,10,20,40"),
        ("describe", "bus.jpg", "--region", "img_00000000/r1"),
        ("ground", "bus.jpg", ""),
        ("eval", "qa", "text.txt", "--images", "."),
        ("eval", "detection", "--instances", "text.txt", "--images", "."),
        ("eval", "regions", "--instances", "text.txt", "--images", "."),
        ("eval", "scores", "--instances", "text.txt", "--images", "."),
        ("eval", "parity", "."),
    ],
    ids=" ".join,
)
def test_expected_failure_is_one_line_and_exit_1(folder: Path, arguments: tuple[str, ...]) -> None:
    Path("text.txt").write_text("this is no picture\n", encoding="utf-8")
    Path("empty.jpg").touch()
    Path("boxes.json").write_text("[[50, 10, 20, 40]]", encoding="utf-8")
    result = run(*arguments)
    assert result.exit_code == 1, (result.stdout, result.stderr)
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "bus.jpg"),
        ("ask", "bus.jpg", "Is there a bus?", "--nonsense"),
        ("ask", "bus.jpg", "Is there a bus?", "--draw", "out.doc"),
        ("count", "bus.jpg", "bus", "--within", "1,2,3"),
        ("ground", "bus.jpg", "bus", "--threshold", "1.5"),
        ("read", "bus.jpg", "--region", "r1", "--box", "0,0,9,9"),
        ("eval", "detection", "--images", "."),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2(folder: Path, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr


@pytest.mark.parametrize(
    "command", [("tools",), ("doctor",), ("replay", "run.jsonl"), ("eval", "parity", "."), ("serve",)]
)
def test_a_command_that_takes_no_server_says_so(folder: Path, command: tuple[str, ...]) -> None:
    result = run("--server", "http://127.0.0.1:9", *command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{command[0]} does not take --server; ask, chat, ground, count, read, describe, segment, " in result.stderr
    assert "point, tool do." in result.stderr


def test_a_file_that_is_there_survives_a_failure(folder: Path) -> None:
    Path("out.png").write_bytes(b"mine")
    assert run("ask", "empty.jpg", "Is there a bus?", "--draw", "out.png").exit_code == 1
    assert Path("out.png").read_bytes() == b"mine"


ASK = ("ask", "bus.jpg", "Is there a bus?")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((*ASK, "--trace", "bus.jpg"), "--trace bus.jpg: that is a file to be read"),
        ((*ASK, "--draw", "./bus.jpg"), "--draw bus.jpg: that is a file to be read"),
        ((*ASK, "--draw", "link.jpg"), "--draw link.jpg: that is a file to be read"),
        (("count", "bus.jpg", "bus", "--draw", "bus.jpg"), "--draw bus.jpg: that is a file to be read"),
        ((*ASK, "--boxes", "boxes.json", "--trace", "boxes.json"), "--trace boxes.json: that is a file to be read"),
        ((*ASK, "--draw", "a.png", "--trace", "./a.png"), "--draw and --trace both name a.png"),
        ((*ASK, "--html", "of"), "'of' should end in .html or .htm"),
        ((*ASK, "--draw", "a.html", "--html", "a.html"), "'a.html' should end in .png"),
        (("report", "a.html", "a.html"), "OUT.html a.html: that is a file to be read"),
        (("replay", "run.jsonl", "--html", "run.jsonl"), "'run.jsonl' should end in .html"),
        (("diff", "a.html", "run.jsonl", "--html", "a.html"), "--html a.html: that is a file to be read"),
        (("eval", "qa", "a.jsonl", "--images", ".", "--details", "a.jsonl"), "--details a.jsonl: that is a file"),
    ],
)
def test_no_file_that_is_read_is_written_over(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    Path("link.jpg").symlink_to("bus.jpg")
    for name in ("boxes.json", "a.html", "a.jsonl", "run.jsonl"):
        Path(name).write_text("[]", encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@contextlib.contextmanager
def disk_with_room_for(size: int) -> Iterator[None]:
    """Within the block, writing more bytes than that to a file fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        ((*ASK, "--draw"), "x.png"),
        ((*ASK, "--html"), "x.html"),
        ((*ASK, "--json", "--html"), "x.html"),
        ((*ASK, "--trace"), "x.jsonl"),
        (("ground", "bus.jpg", "bus", "--draw"), "x.png"),
        (("count", "bus.jpg", "bus", "--draw"), "x.png"),
        (("read", "bus.jpg", "--draw"), "x.png"),
        (("describe", "bus.jpg", "--draw"), "x.png"),
    ],
)
def test_a_full_disk_costs_the_file_and_not_the_answer(folder: Path, arguments: tuple[str, ...], out: str) -> None:
    with disk_with_room_for(1000):
        result = run(*arguments, out)
    assert result.exit_code == 1
    assert result.stdout == run(*arguments[:-1]).stdout or json.loads(result.stdout)["text"].startswith("Yes")
    assert f"{out} cannot be written: File too large." in result.stderr.splitlines()[-1]
    assert not Path(out).exists()


def test_bytes_that_are_no_text_are_spelled_in_a_report(folder: Path) -> None:
    result = run("ask", "bus.jpg", "How many b\udcffses are there?", "--html", "a.html")
    assert result.exit_code == 0, result.stderr
    assert "How many b\\udcffses are there?" in Path("a.html").read_text(encoding="utf-8")


def test_steps_are_coloured_on_a_terminal_like_the_picture(folder: Path) -> None:
    from fo1agent.pictures.drawing import region_color

    arguments = ("ask", "bus.jpg", "Is there a bus?")
    colored = CliRunner().invoke(main, arguments, color=True)
    name = json.loads(run(*arguments, "--json").stdout)["evidence"][0].rsplit("/", 1)[-1]
    red, green, blue = (int(region_color(name)[i : i + 2], 16) for i in (1, 3, 5))
    assert f"\x1b[38;2;{red};{green};{blue}m\x1b[1m{name}" in colored.stderr
    assert "\x1b" not in CliRunner().invoke(main, arguments, color=True, env={"NO_COLOR": "1"}).stderr


def _commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*above, name))


COMMANDS = dict(_commands(main))


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=" ".join)
def test_every_help_ends_with_an_example_of_itself(path: tuple[str, ...]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    words = result.stdout.rstrip().splitlines()[-1].split()
    assert tuple(words[1 : 1 + len(path)]) == path
    depth = max(n for n in range(4) if tuple(words[1 : 1 + n]) in COMMANDS or n == 0)
    options = {name for parameter in COMMANDS[tuple(words[1 : 1 + depth])].params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_what_is_wrong_with_a_picture_on_stdin_is_said_of_stdin() -> None:
    result = run("count", "-", "bus", stdin=b"no picture")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: stdin: ")


def test_png_on_stdin_is_the_same_picture(folder: Path) -> None:
    buffer = io.BytesIO()
    with Image.open("bus.jpg") as picture:
        picture.save(buffer, "PNG")
    from_png = parsed(run("count", "-", "bus", "--json", stdin=buffer.getvalue()))
    assert from_png["regions"] == parsed(run("count", "bus.jpg", "bus", "--json"))["regions"]


@pytest.mark.parametrize("place", ["fo1agent.loading.load", "fo1agent.cli.pictures.named", "fo1agent.cli.console.logs"])
def test_ctrl_c_ends_a_command_with_its_code_and_without_a_word(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    result = run("ask", "bus.jpg", "Is there a bus?")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")


def test_ctrl_c_in_the_import_of_a_compiled_package_is_ctrl_c(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr("fo1agent.loading.load", interrupted)
    result = run("ask", "bus.jpg", "Is there a bus?")
    assert (result.exit_code, result.output) == (130, "")


def test_ctrl_c_while_arguments_are_read_or_the_command_is_imported_does_so_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(click.Command, "parse_args", interrupted)
    result = run("--version")
    assert (result.exit_code, result.output) == (130, "")
    code = "import sys; sys.modules['fo1agent.cli.command'] = type('Gone', (), {'__getattr__': lambda *_: stop()})()\n"
    code += "def stop(): raise KeyboardInterrupt\nimport fo1agent.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
