"""The blocks of docs/scale.md run, in their order, and print what they say."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fo1agent.annotate.shards import Shards
from fo1agent.annotate.tasks import Row
from fo1agent.cli import main

pytest.importorskip("pyarrow", reason="the extra annotate is not installed")


def test_the_blocks_run_and_print_what_the_page_says(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (repo / "docs" / "scale.md").read_text(encoding="utf-8")
    shutil.copytree(repo / "fo1agent" / "data" / "demo", tmp_path / "photos", ignore=lambda _, names: not_photos(names))
    (tmp_path / "photos" / "torn.jpg").write_text("not a picture")
    (tmp_path / "asked.jsonl").write_text(
        '{"image": "cat.jpg", "question": "How many remotes are there?"}\n'
        '{"image": "bus.jpg", "question": "Is there a dog?"}\n'
    )
    monkeypatch.chdir(tmp_path)
    ran = 0
    for language, block, printed in re.findall(
        r"^```(console|python)\n(.*?)^```$(?:\n```text\n(.*?)^```$)?", page, re.DOTALL | re.MULTILINE
    ):
        ran += 1
        if language == "python":
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(block, "docs/scale.md", "exec"), {})
            assert said.getvalue() == printed
            continue
        for command, told in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            result = CliRunner().invoke(main, shlex.split(command)[1:])
            assert (result.exit_code, result.output) == (0, told), command
    assert ran == 4


def test_the_command_on_ray_writes_what_one_process_writes(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray.data", reason="the extra ray is not installed")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    page = (repo / "docs" / "scale.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^```sh\n(.*)\n```$", page, re.MULTILINE)
    shutil.copytree(repo / "fo1agent" / "data" / "demo", tmp_path / "photos", ignore=lambda _, names: not_photos(names))
    monkeypatch.chdir(tmp_path)
    for line in (command, re.sub(" --actors.*", "", command).replace("spread", "here")):
        # A process of its own: Ray leaves threads and warnings of its own behind.
        done = subprocess.run([sys.executable, "-m", *shlex.split(line)], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    (spread,), (here,) = ([*(tmp_path / name / "rows").iterdir()] for name in ("spread", "here"))
    assert spread.read_bytes() == here.read_bytes()


def test_the_cluster_file_is_one_that_ray_takes(repo: Path) -> None:
    commands = pytest.importorskip("ray.autoscaler._private.util", reason="the extra ray is not installed")
    page = (repo / "docs" / "scale.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    commands.validate_config(commands.prepare_config(yaml.safe_load(block)))


def not_photos(names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(".jpg")]


def test_a_job_of_which_nothing_can_be_answered_fails(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "torn.jpg").write_text("not a picture")
    command = ["annotate", str(tmp_path / "photos"), "read", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "error: No picture could be answered." in result.stderr


def test_words_that_a_task_does_not_take_are_said_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("not a picture")
    result = CliRunner().invoke(main, ["annotate", str(tmp_path / "a.jpg"), "detect", "--out", str(tmp_path / "out")])
    assert (result.exit_code, result.stderr) == (1, "error: detect takes phrases, got 0.\n")
    assert not (tmp_path / "out").exists()


def test_a_pattern_without_quotes_and_actors_without_ray_are_said(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("not a picture")
    command = ["annotate", str(tmp_path / "a.jpg"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*command, str(tmp_path / "b.jpg"), "detect", "bus"])
    assert result.exit_code == 2
    assert 'b.jpg is a second file. Put a pattern in quotes, as "photos/*.jpg", or name their folder.' in result.stderr
    result = CliRunner().invoke(main, [*command, "detect", "bus", "--actors", "2"])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        2,
        "Error: --actors is for --ray. Add --ray, or leave it out.",
    )
    assert not (tmp_path / "out").exists()


def test_shards_are_written_to_a_disk_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_text("not a picture")
    result = CliRunner().invoke(main, ["annotate", "a.jpg", "read", "--out", "s3://bucket/out"])
    assert result.exit_code == 2
    assert "'--out': shards are written whole or not at all, on a disk. Name a folder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_words_that_nobody_judges_are_told_before_and_left_out(repo: Path, tmp_path: Path) -> None:
    bus = str(repo / "fo1agent" / "data" / "demo" / "bus.jpg")
    words = ["zebrafish", "woman", "bus"]
    command = ["annotate", bus, "detect", *words, "--out", str(tmp_path / "out"), "--format", "yolo"]
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, result.stderr.splitlines()) == (
        0,
        [
            "warning: fo1-nano does not know “zebrafish”.",
            "warning: fo1-nano cannot judge “woman”.",
            "left out of these files: 1 region of words that were not judged in full; the shards have them",
            "left out of these files: “zebrafish” and “woman”, which could not be judged",
        ],
    )
    assert yaml.safe_load((tmp_path / "out" / "yolo" / "data.yaml").read_text())["names"] == {0: "bus"}


def test_ctrl_c_says_how_much_is_done_and_the_same_command_goes_on(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = repo / "fo1agent" / "data" / "demo", tmp_path / "out"
    command = ["annotate", f"{photos}/*.jpg", "detect", "bus", "--shard", "1", "--out", str(out)]
    write, written = Shards.write, []

    def interrupted(self: Shards, number: int, rows: list[Row]) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(write(self, number, rows))

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    total = len(list(photos.glob("*.jpg")))
    with monkeypatch.context() as patch:  # before there is a folder
        patch.setattr("fo1agent.annotate.job.run", stopped)
        result = CliRunner().invoke(main, command)
    said = f"0 of {total} pictures are done and stay; the same command goes on.\n"
    assert (result.exit_code, result.stderr, out.exists()) == (130, said, False)
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "write", interrupted)
        result = CliRunner().invoke(main, command)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        130,
        f"1 of {total} pictures are done and stay; the same command goes on.",
    )
    assert CliRunner().invoke(main, command).exit_code == 0
    assert len(list((out / "rows").iterdir())) == total


def test_pictures_that_are_nowhere_are_told_where_they_were_sought(repo: Path, tmp_path: Path) -> None:
    lines, out = tmp_path / "a.jsonl", tmp_path / "out"
    lines.write_text('{"image": "cat.jpg"}\n{"image": "bus.jpg"}\n')

    def told(*options: str) -> str:
        result = CliRunner().invoke(main, ["annotate", str(lines), "detect", "bus", "--out", str(out), *options])
        shutil.rmtree(out)
        return (result.stderr.splitlines() or [""])[-1]

    beside = "error: No picture could be answered. None was found beside that file: name their folder with --images."
    assert told().startswith(beside)
    assert f"None was found in {tmp_path}/no: check --images. What failed" in told("--images", f"{tmp_path}/no")
    assert told("--images", str(repo / "fo1agent" / "data" / "demo")) == ""
    (tmp_path / "cat.jpg").write_bytes(b"no picture")  # one is there, so that is not why
    assert told().startswith("error: No picture could be answered. What failed stays so in ")
