"""What is printed where: streams that are closed, or cannot be written."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from fo1agent.cli import console
from fo1agent.errors import InputError
from fo1agent.regions.regions import Region, Regions


class Full(io.StringIO):
    """A stream of a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_what_is_no_result_need_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    console.note("1 step")
    console.note("2 steps")  # on a stream that is gone now


def test_a_result_must_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(InputError, match="cannot be written to stdout: No space left on device"):
        console.result("1")


def test_a_closed_stdin_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="stdin is closed"):
        console.stdin_bytes(10)


def test_no_file_gets_the_number_of_a_stream_that_is_closed(tmp_path: Path) -> None:
    program = (
        "import os, sys; from fo1agent.cli import console; os.close(2); sys.stderr = None;"
        "console.keep_streams_apart();"
        f"print(open({str(tmp_path / 'file')!r}, 'w').fileno() > 2); console.note('nobody reads this')"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert told.stdout == "True\n"


@pytest.mark.parametrize("place", ["absent/a.png", "folder.png"])
def test_a_place_where_no_file_can_be_is_told_beforehand(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=r"--draw .* cannot be written: "):
        console.check_outputs({"--html": None, "--draw": tmp_path / place}, ["-", "\0", None])


def test_of_very_many_regions_the_first_stand_behind_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    for number, text in ((0, ""), (2, "evidence r0 r1"), (8, "evidence r0 r1 r2 r3 r4 r5 r6 r7")):
        console.result("(", *console.evidence(_regions(number)), ")")
        assert capsys.readouterr().out == f"({text})\n"
    console.result(*console.evidence(_regions(89)))
    assert capsys.readouterr().out == "evidence r0 r1 r2 r3 r4 r5 r6 r7  … 89 in all\n"


def _regions(number: int) -> Regions:
    return Regions.from_list([Region(f"img_0/r{k}", (0.0, 0.0, 9.0, 9.0), 0.5, "person") for k in range(number)])
