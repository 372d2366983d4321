"""A call of every tool, for tests of the faces that offer them."""

from __future__ import annotations

from typing import Any

from fo1agent.segmenters.base import NO_SEGMENTER

CALLS: dict[str, dict[str, Any]] = {
    "look": {},
    "ground": {"phrase": "cat"},
    "count": {"phrase": "remote"},
    "read": {},
    "describe": {"region": "r0"},
    "inspect": {"question": "What colour is it?", "region": [60, 30, 400, 390]},
    "relate": {"a": "remote", "relation": "right_of", "b": "cat"},
    "segment": {"phrase": "cat"},
    "point": {"phrase": "remote"},
    "zoom": {"region": [40, 30, 420, 400], "phrase": "cat"},
    "annotate": {"regions": ["r0"]},
    "ask": {"question": "How many remotes are to the right of the cat?"},
}
"""A call of every tool on the photograph of a cat and two remotes."""

FAILS = {"segment": NO_SEGMENTER}
"""Those that end in an error with a model as `load()` gives it, and what it says."""
