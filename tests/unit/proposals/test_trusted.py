"""Fitted trust as a file: found again for the same finder and weights, refused for all else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fo1agent.errors import DataError, InputError
from fo1agent.proposals import trusted
from fo1agent.proposals.trust import Trust

TRUST = Trust(scale=1.5, bias=-0.25, weight=0.75, silent=0.01)
FINDER = SimpleNamespace(name="transformers:some/detector")
YOLO = SimpleNamespace(name="yolo")


def write(path: Path, *finders: Any, trust: Trust = TRUST) -> None:
    trusted.write(path, [trusted.Calibration(one, trust, {"AP": 1.0}) for one in finders], "abc")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(trusted.WHERE, str(tmp_path / "trust"))


def test_what_was_fitted_is_found_for_that_finder_and_those_weights_alone() -> None:
    assert trusted.kept([FINDER], "abc") == {}
    path = trusted.place(FINDER, "abc")
    write(path, FINDER)
    assert path.name.startswith("transformers-some-detector-")
    assert trusted.kept([YOLO, FINDER], "abc") == {FINDER.name: TRUST}
    assert trusted.kept([FINDER], "other") == {}
    assert trusted.kept([SimpleNamespace(name="transformers:some-detector")], "abc") == {}
    assert trusted.kept([SimpleNamespace(name=FINDER.name, identity="other weights")], "abc") == {}


def test_a_file_may_be_named(tmp_path, monkeypatch) -> None:
    path = tmp_path / "mine.json"
    write(path, FINDER)
    monkeypatch.setenv(trusted.WHERE, str(path))
    assert trusted.kept([FINDER, YOLO], "abc") == {FINDER.name: TRUST}
    with pytest.raises(
        DataError, match=r"mine.json: was made for the model 'abc', not 'other'. Run `fo1agent calibrate`"
    ):
        trusted.kept([FINDER], "other")
    with pytest.raises(DataError, match="was made for the finder 'transformers:some/detector', not 'yolo' or 'owl'"):
        trusted.read(path, [YOLO, SimpleNamespace(name="owl")], "abc")
    with pytest.raises(DataError, match="was made for the identity '', not 'other weights'"):
        trusted.read(path, [SimpleNamespace(name=FINDER.name, identity="other weights")], "abc")


def test_one_file_may_hold_several(tmp_path) -> None:
    path = tmp_path / "both.json"
    write(path, FINDER, YOLO)
    assert trusted.read(path, [YOLO, FINDER], "abc") == {FINDER.name: TRUST, "yolo": TRUST}
    assert trusted.read(path, [YOLO], "abc") == {"yolo": TRUST}
    with pytest.raises(DataError, match="finder 'transformers:some/detector' or 'yolo', not 'owl'"):
        trusted.read(path, [SimpleNamespace(name="owl")], "abc")


def test_a_file_of_before_finders_could_be_kept_from_lowering_is_read(tmp_path) -> None:
    path = tmp_path / "old.json"
    write(path, FINDER, trust=TRUST)
    said = json.loads(path.read_text())
    for name, value in {"lowers": True, "sure": 1.0, "shift": 0.0}.items():
        assert said["trust"].pop(name) == value
    path.write_text(json.dumps(said))
    assert trusted.read(path, [FINDER], "abc") == {FINDER.name: TRUST}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: "{", "cannot be read as a calibration"),
        (lambda said: "[]", "is no calibration of fo1agent"),
        (lambda said: json.dumps([said, 3]), "is no calibration of fo1agent"),
        (lambda said: json.dumps({**said, "finder": ["yolo"]}), "is no calibration of fo1agent"),
        (lambda said: json.dumps({**said, "format": "fo1agent-trust-2"}), "is no calibration of fo1agent"),
        (lambda said: json.dumps({**said, "trust": 3}), "is no calibration of fo1agent"),
        (
            lambda said: json.dumps({**said, "trust": {**said["trust"], "weight": -1}}),
            "is damaged .*weight and sure of 0 or more",
        ),
        (lambda said: json.dumps({**said, "trust": {**said["trust"], "wait": 1}}), "is damaged"),
        (
            lambda said: json.dumps({**said, "trust": {**said["trust"], "lowers": 1}}),
            "is damaged .*True or False; got 1",
        ),
        (lambda said: json.dumps({**said, "trust": {**said["trust"], "bias": "0"}}), "is damaged .*finite numbers"),
        (lambda said: json.dumps({**said, "trust": {"scale": float("nan")}}), "is damaged .*finite numbers"),
        (lambda said: " " * 200_000, "longer than 100,000 bytes"),
    ],
)
def test_a_damaged_file_is_told(change, message) -> None:
    path = trusted.place(FINDER, "abc")
    write(path, FINDER)
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(DataError, match=message):
        trusted.kept([FINDER], "abc")


def test_makers_advice_is_a_trust() -> None:
    wrongs: list[dict[str, Any]] = [{"silent": 0.0}, {"sure": -1.0}]
    for wrong in wrongs:
        with pytest.raises(InputError, match="sure of 0 or more and silent between 0 and 1"):
            Trust(**wrong)
    assert Trust.of(SimpleNamespace(trust=TRUST)) == TRUST
    assert Trust.of(SimpleNamespace()) == Trust(lowers=False)
    advised = Trust.at(0.3)
    assert (advised.lowers, advised.log_odds(np.array([0.3]))) == (False, pytest.approx(np.log(0.25 / 0.75)))
