"""Models and scenes whose calls are heard of: passes of the model, of OCR and of a detector, where they happen.

A scene or a model is watched by a copy whose calls go through a `Listener` on their way; the one that was given stays
as it is, so that two runs on one picture are counted apart. Nothing is known here of traces or of spans.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from fo1agent.scene import Model, Scene

PASSES = ("encode", "with_boxes", "find", "match", "similar", "labels", "generate")
"""The kinds of passes that a predictor makes: its methods of these names compute; for `find`, its finders do."""

# Its method → the kind of its passes.
_MANY = {"match_many": "match", "generate_many": "generate", "ask": "find", "alike": "similar"}

Listener = Callable[[str, str, int], AbstractContextManager[Any]]
"""(kind, name of the model, pixels) → a context in which the call runs. Kinds are `PASSES`, `propose`, `segment` and
`ocr`."""


def watched_model(model: Any, listener: Listener) -> Any:
    """A model like this one whose calls the listener hears of; what is no `Model` is returned as it is."""
    if not isinstance(model, Model):
        return model
    propose, segment = model.proposer, model.segmenter
    return replace(
        model,
        predictor=_Watched(model.predictor, listener),
        proposer=None if propose is None else _Heard(propose, "propose", _name_of(propose), listener),
        ocr=_Heard(model.ocr, "ocr", _name_of(model.ocr), listener),
        segmenter=None if segment is None else _Heard(segment, "segment", _name_of(segment), listener),
    )


def watched_scene(scene: Any, listener: Listener) -> Any:
    """An open scene, likewise. What it remembers of reading and of colours is shared with the one that was given."""
    if not isinstance(scene, Scene):
        return scene
    watched = copy.copy(scene)
    watched.model = watched_model(scene.model, listener)
    return watched


class _Watched:
    """A predictor whose passes the listener hears of."""

    def __init__(self, predictor: Any, listener: Listener) -> None:
        self._predictor = predictor
        self._listener = listener

    def __getattr__(self, name: str) -> Any:
        value, kind = getattr(self._predictor, name), _MANY.get(name, name)
        if name == "ask":
            return self._ask
        return _Heard(value, kind, self._predictor.name, self._listener) if kind in PASSES else value

    def _ask(self, encoding: Any, phrases: Sequence[str], naming: bool = False) -> None:
        finders = ", ".join(self._predictor.unasked(encoding, phrases, naming))
        with self._listener("find", finders, _pixels(encoding.image)):
            self._predictor.ask(encoding, phrases, naming)


class _Heard:
    """A function, called as it is, each call within the listener's context."""

    def __init__(self, function: Any, kind: str, name: str, listener: Listener) -> None:
        self.name = name
        self.__module__ = getattr(function, "__module__", "")  # by which `proposals.base` tells ours from others
        self._function, self._kind, self._listener = function, kind, listener

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        sees = bool(args) and self._kind in ("encode", "propose", "segment", "ocr")
        with self._listener(self._kind, self.name, _pixels(args[0]) if sees else 0):
            return self._function(*args, **kwargs)


def _pixels(image: Any) -> int:
    return int(image.width * image.height)


def _name_of(function: Any) -> str:
    return str(getattr(function, "name", None) or getattr(function, "__name__", type(function).__name__))
