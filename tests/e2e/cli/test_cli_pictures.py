"""Several pictures in one command: patterns, a line each, errors in their places, one model for all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fo1agent import loading
from fo1agent.cli import main
from fo1agent.cli.pictures import matches, parted


@pytest.fixture
def folder(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a bus, a cat, and a picture that cannot be read."""
    for name in ("bus.jpg", "cat.jpg"):
        shutil.copy(repo / "fo1agent" / "data" / "demo" / name, tmp_path)
    Path(tmp_path, "bad.jpg").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="fo1agent")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def lines(*arguments: str) -> dict[str, Any]:
    """What --json says of each picture."""
    read = [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]
    return {one.pop("picture"): one for one in read}


@pytest.mark.parametrize(
    ("command", "bus", "cat"),
    [
        (("count", "bus.jpg", "cat.jpg", "stolen bus"), "0 to 1  r0 0.94 · not judged: stolen", "0"),
        (("ground", "bus.jpg", "cat.jpg", "bus", "zebra"), "“bus”  r0 0.94 · “zebra”  nothing", "“bus”  nothing"),
        (("ask", "bus.jpg", "cat.jpg", "Is there a bus?"), "Yes, there is 1 bus.  evidence r0", "No, I see no bus."),
        (("read", "bus.jpg", "cat.jpg", "--box", "126,126,414,312"), "PREPAY ONLY", "no text found"),
        (("describe", "bus.jpg", "cat.jpg"), "2 cars, 1 bus", "2 remotes, 1 cat"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_each_picture_has_one_line(folder: Path, command: tuple[str, ...], bus: str, cat: str) -> None:
    result = run(*command)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first.startswith(f"bus.jpg: {bus}")
    assert second.startswith(f"cat.jpg: {cat}")


def test_a_pattern_is_replaced_by_its_files_and_a_bad_one_says_so_in_its_place(folder: Path) -> None:
    result = run("count", "*.jpg", "absent.png", "bus")
    assert result.exit_code == 1
    bad, bus, cat, absent = result.stdout.splitlines()
    assert bad.startswith("bad.jpg: error: empty, 0 bytes.")
    assert (bus.partition("  ")[0], cat) == ("bus.jpg: 1", "cat.jpg: 0")
    assert absent.startswith("absent.png: error: There is no file")


def test_json_has_one_line_a_picture_with_the_fields_of_one_picture(folder: Path) -> None:
    said = lines("ask", "*.jpg", "Is there a cat?")
    assert list(said) == ["bad.jpg", "bus.jpg", "cat.jpg"]
    assert list(said["bad.jpg"]) == ["error"]
    assert [said[name]["value"] for name in ("bus.jpg", "cat.jpg")] == [False, True]
    alone = json.loads(run("ask", "cat.jpg", "Is there a cat?", "--json").stdout)
    assert said["cat.jpg"].keys() == alone.keys()
    assert said["cat.jpg"]["evidence"] == alone["evidence"]


def test_the_model_is_loaded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []
    load = loading.load
    monkeypatch.setattr(loading, "load", lambda *args, **kwargs: loaded.append(args) or load(*args, **kwargs))
    assert len(lines("count", "bus.jpg", "cat.jpg", "cat")) == 2
    assert len(loaded) == 1


def test_a_pattern_with_one_match_is_one_picture(folder: Path) -> None:
    assert run("count", "c*.jpg", "cat").stdout == run("count", "cat.jpg", "cat").stdout == "1\n"


def test_a_region_that_one_picture_lacks_is_its_error_alone(folder: Path) -> None:
    bus = json.loads(run("ask", "bus.jpg", "Is there a bus?", "--json").stdout)["image"]
    said = lines("describe", "bus.jpg", "cat.jpg", "--region", f"{bus}/r0")
    assert "error" not in said["bus.jpg"]
    assert said["cat.jpg"].keys() == {"error"}


def test_a_folder_is_told_how_its_pictures_are_named(folder: Path) -> None:
    result = run("count", ".", "bus")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: . is a folder. Write ./*.jpg for its pictures, or use `fo1agent annotate` on all of it.\n",
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ask", "bus.jpg"), "Missing argument 'QUESTION', which comes after the pictures."),
        (("count", "bus.jpg", "cat.jpg"), "Missing argument 'PHRASE', which comes after the pictures."),
        (("ground", "bus.jpg", "cat.jpg"), "Missing argument 'PHRASE…', which comes after the pictures."),
        (
            ("ask", "bus.jpg", "Is", "it", "red?"),
            "There is no picture 'Is'. If it is a word of the QUESTION, quote all of it: \"…\".",
        ),
        (("describe",), "Missing argument 'IMAGE…'."),
        (("count", "bus.jpg", "cat.jpg", "cat", "--draw", "a.png"), "--draw writes one file; name one picture, not 2."),
        (("ask", "*.jpg", "Is it?", "--trace", "a.jsonl"), "--trace writes one file; name one picture, not 3."),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_before_a_model_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    monkeypatch.delattr(loading, "load")
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(f"Error: {told}\n")


def test_every_run_about_several_pictures_is_saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FO1AGENT_TRACES", "traces")
    assert run("ask", "*.jpg", "Is there a cat?").exit_code == 1
    assert len(list(Path("traces").glob("*.jsonl"))) == 2


def test_pictures_come_first_and_phrases_after_them(folder: Path) -> None:
    Path("dog").touch()
    assert parted(["dog", "dog", "cat.jpg"]) == (["dog"], ["dog", "cat.jpg"])
    assert parted(["a.png", "B.JPG", "http://x.org/1", "-", "p*", "red cup", "st. bernard"])[1] == [
        "red cup",
        "st. bernard",
    ]
    assert parted(["a.png", f"{folder}/dog", "no/where"])[1] == ["no/where"]


def test_a_name_that_only_looks_like_a_pattern_stays(folder: Path) -> None:
    Path("a[1].jpg").touch()
    Path("a1.jpg").touch()
    assert matches("a[1].jpg") == ["a[1].jpg"]
    assert matches("?at.jpg") == ["cat.jpg"]
    assert matches("*.png") == ["*.png"]
    assert matches("https://example.org/cat.jpg?size=*") == ["https://example.org/cat.jpg?size=*"]


# ---- examples of other pictures ----


def test_what_is_like_regions_of_other_pictures_is_found_in_each(folder: Path) -> None:
    result = run("ground", "bus.jpg", "cat.jpg", "--like", "cat.jpg:r0", "--like", "cat.jpg:333,76,369,187")
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first == "bus.jpg: nothing is like the examples"
    assert second == "cat.jpg: nothing is like the examples"  # they are what is shown, and no more of it
    found = lines("ground", "bus.jpg", "cat.jpg", "--like", "cat.jpg:r0", "--unlike", "bus.jpg:r0")
    assert found["cat.jpg"]["like"] == ["cat.jpg:r0"]
    assert found["cat.jpg"]["unlike"] == ["bus.jpg:r0"]
    assert [one["id"] for one in found["cat.jpg"]["regions"]] == ["r2"]
    own = run("ground", "cat.jpg", "--like", "r0", "--draw", "out.png")
    assert own.stdout.startswith("r2")
    assert Path("out.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("cat.jpg", "remote", "--like", "r0"), 2, "leave out 'remote', or --like"),
        (("cat.jpg", "--unlike", "r0"), 2, "give --like as well"),
        (("cat.jpg", "--like", "bus.jpg"), 2, "'bus.jpg' is no example. Write OTHER.jpg:r3"),
        (("cat.jpg", "--like", "bus.jpg:r"), 2, "is no example"),
        (("cat.jpg", "--like", "-:r0"), 2, "is no example"),
        (("cat.jpg", "--like", ":r0"), 2, "':r0' is no example. Write OTHER.jpg:r3"),
        (("cat.jpg", "--like", "bus.jpg:r00"), 2, "'bus.jpg:r00' is no example. Write OTHER.jpg:r3"),
        (("cat.jpg", "--like", "bus.jpg:r0", "--draw", "bus.jpg"), 2, "that is a file to be read"),
        (("cat.jpg", "--like", "bus.jpg:r999"), 1, "No region r999"),
        (("cat.jpg", "--like", "absent.jpg:r0"), 1, "There is no file 'absent.jpg'"),
        (("cat.jpg", "bus.jpg", "--like", "bus.jpg:9000,9000,9100,9100"), 1, "shows nothing of the"),
        (("cat.jpg",), 2, "Missing argument 'PHRASE…'"),
    ],
)
def test_odd_examples_are_one_line(folder: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run("ground", *arguments)
    assert result.exit_code == code
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
