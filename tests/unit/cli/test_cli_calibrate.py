"""What `fo1agent calibrate` prints."""

from __future__ import annotations

from fo1agent.cli.calibrate import lines

FITTED = {
    "finder": "transformers:detr",
    "trust": {"scale": 0.91, "bias": -0.2, "lowers": True},
    "model alone": {"AP": 25.51, "calibration_error": 0.031},
    "finder alone before": {"AP": 12.0, "calibration_error": None},
    "joined after": {"AP": None, "calibration_error": None},
    "pictures": 200,
    "held": 0,
    "unasked": [],
    "failures": 0,
    "file": "trust.json",
}


def test_what_was_not_measured_is_not_printed_and_the_rest_is_in_words() -> None:
    printed = list(lines(FITTED))
    assert printed == [
        "finder            transformers:detr",
        "trust             scale 0.91  bias -0.2  lowers yes",
        "model alone       AP 25.51  calibration error 0.031",
        "finder alone before AP 12.0",
        "pictures          200",
        "held back         0",
        "failures          0",
        "file              trust.json",
    ]


def test_categories_that_nobody_knows_are_named() -> None:
    assert list(lines({"unasked": ["labubu", "gizmo"]})) == ["known to neither  labubu, gizmo"]
