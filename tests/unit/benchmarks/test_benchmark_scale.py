"""What benchmarks/scale.py says of jobs on paper is right where the answer is known, and stands in docs/scale.md."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def scale(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    return importlib.import_module("scale")


def test_workers_who_never_die_take_as_long_as_their_pictures(scale: Any) -> None:
    fleet = scale.Fleet(workers=4, seconds=2.0, spread=0.0, hours=1e9, overhead=0.0, slow=0.0)
    course = scale.simulated(fleet, 400, 10)
    assert (course.hours, course.ideal) == pytest.approx((200 / 3600, 200 / 3600))
    assert (course.again, course.tail, course.given_up) == (0, 0, 0)


def test_the_last_shard_of_a_slow_worker_is_waited_for(scale: Any) -> None:
    fleet = scale.Fleet(workers=2, seconds=1.0, spread=0.0, hours=1e9, overhead=0.0, slow=0.5)
    course = scale.simulated(fleet, 20, 10)
    assert course.hours == pytest.approx(20 / 3600)
    assert course.tail == pytest.approx(0.5)
    assert course.ideal == pytest.approx(20 / 1.5 / 3600)


def test_a_shard_longer_than_lives_is_given_up(scale: Any) -> None:
    fleet = scale.Fleet(workers=2, seconds=1.0, spread=0.0, hours=0.01, start=1.0, overhead=0.0, slow=0.0)
    course = scale.simulated(fleet, 20_000, 10_000)
    assert (course.hours, course.given_up) == (0.0, 2)
    assert course.again > 0


def test_the_page_has_what_the_script_prints(
    scale: Any, repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scale.py"])
    scale.main()
    page = (repo / "docs" / "scale.md").read_text(encoding="utf-8")
    for table in capsys.readouterr().out.rstrip().split("\n\n"):
        assert table in page


def test_the_pictures_that_are_named_are_those_of_both_tables(
    scale: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scale.py", "--pictures", "10000", "--json"])
    scale.main()
    told = json.loads(capsys.readouterr().out)
    assert {row["pictures"] for row in told["costs"]} == {10_000}
    assert [row["days"] for row in told["costs"] if row["worker"].startswith("fo1-nano")] == [1210 / 86_400]
    assert [row["files"] for row in told["shards"] if row["shard"] == 256] == [40]
