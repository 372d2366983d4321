"""Fitted trust as a file: found again for the same finder and weights, refused for all else."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from fo1agent.errors import DataError, InputError
from fo1agent.proposals import trusted
from fo1agent.proposals.trust import Trust

TRUST = Trust(scale=1.5, bias=-0.25, weight=0.75, silent=0.01)
FINDER = SimpleNamespace(name="transformers:some/detector")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(trusted.WHERE, str(tmp_path / "trust"))


def test_what_was_fitted_is_found_for_that_finder_and_those_weights_alone() -> None:
    assert trusted.kept(FINDER, "abc") is None
    path = trusted.place(FINDER, "abc")
    trusted.write(path, FINDER, "abc", TRUST, {"AP": 1.0})
    assert path.name.startswith("transformers-some-detector-")
    assert trusted.kept(FINDER, "abc") == TRUST
    assert trusted.kept(FINDER, "other") is None
    assert trusted.kept(SimpleNamespace(name="transformers:some-detector"), "abc") is None
    assert trusted.kept(SimpleNamespace(name=FINDER.name, identity="other weights"), "abc") is None


def test_a_file_may_be_named(tmp_path, monkeypatch) -> None:
    path = tmp_path / "mine.json"
    trusted.write(path, FINDER, "abc", TRUST, {})
    monkeypatch.setenv(trusted.WHERE, str(path))
    assert trusted.kept(FINDER, "abc") == TRUST
    with pytest.raises(
        DataError, match=r"mine.json: was made for the model 'abc', not 'other'. Run `fo1agent calibrate`"
    ):
        trusted.kept(FINDER, "other")
    with pytest.raises(DataError, match="was made for the finder 'transformers:some/detector', not 'yolo'"):
        trusted.read(path, SimpleNamespace(name="yolo"), "abc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: "{", "cannot be read as a calibration"),
        (lambda said: "[]", "is no calibration of fo1agent"),
        (lambda said: json.dumps({**said, "format": "fo1agent-trust-2"}), "is no calibration of fo1agent"),
        (lambda said: json.dumps({**said, "trust": 3}), "is no calibration of fo1agent"),
        (
            lambda said: json.dumps({**said, "trust": {**said["trust"], "weight": -1}}),
            "is damaged .*weight of 0 or more",
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
    trusted.write(path, FINDER, "abc", TRUST, {})
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(DataError, match=message):
        trusted.kept(FINDER, "abc")


def test_makers_advice_is_a_trust() -> None:
    with pytest.raises(InputError, match="silent between 0 and 1"):
        Trust(silent=0.0)
    assert Trust.of(SimpleNamespace(trust=TRUST)) == TRUST
    assert Trust.of(SimpleNamespace()) == Trust(lowers=False)
    advised = Trust.at(0.3)
    assert (advised.lowers, advised.log_odds(np.array([0.3]))) == (False, pytest.approx(np.log(0.25 / 0.75)))
