"""A call of every tool, for tests of the faces that offer them."""

from __future__ import annotations

from typing import Any

CALLS: dict[str, dict[str, Any]] = {
    "look": {},
    "ground": {"phrase": "cat"},
    "count": {"phrase": "remote"},
    "read": {},
    "describe": {"region": "r0"},
    "inspect": {"question": "What colour is it?", "region": [60, 30, 400, 390]},
    "relate": {"a": "remote", "relation": "right_of", "b": "cat"},
    "zoom": {"region": [40, 30, 420, 400], "phrase": "cat"},
    "annotate": {"regions": ["r0"]},
    "ask": {"question": "How many remotes are to the right of the cat?"},
}
"""A call of every tool on the photograph of a cat and two remotes."""
