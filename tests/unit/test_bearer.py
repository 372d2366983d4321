"""What was sent in confidence is told nowhere."""

from __future__ import annotations

import pytest

from fo1agent.bearer import hiding


@pytest.mark.parametrize(
    ("address", "token", "text", "told"),
    [
        ("http://a/v1", None, "as it is: http://a/v1", "as it is: http://a/v1"),
        ("http://me:pw@a/v1", None, "at http://me:pw@a/v1, pw; pwd and swpw", "at http://***@a/v1, ***; pwd and swpw"),
        ("http://me:long@a", None, "xlongx bWU6bG9uZw==", "x***x ***"),
        ("http://me:a%40b@a", None, "a@b me:a@b a%40b", "*** *** ***"),
        ("http://only@a", None, "http://only@a", "http://***@a"),
        ("http://a", "s.cret", "Bearer s.cret, not sacret", "Bearer ***, not sacret"),
    ],
)
def test_what_an_address_and_a_header_hold_in_confidence_is_taken_out(
    address: str, token: str | None, text: str, told: str
) -> None:
    assert hiding(address, token)(text) == told
