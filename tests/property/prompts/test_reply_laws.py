"""Laws of the reply parser: it never raises, and it reads back what is written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fo1agent.prompts import grounded, parse

tags = st.sampled_from(
    ["<ground>", "</ground>", "<objects>", "</objects>", "<region0>", "<region12>", "<think>", "</think>", "<answer>",
     "</answer>", "\n", " ", "7", "dog"]
)  # fmt: skip
labels = st.text(st.characters(blacklist_characters="<>\n", blacklist_categories=["Cs"]), min_size=1).map(str.strip)


@given(st.lists(st.one_of(tags, st.text())).map("".join), st.integers(0, 20))
def test_any_text_is_parsed_and_every_region_exists(text: str, count: int):
    reply = parse(text, count)
    assert reply.raw == text
    assert all(0 <= i < count for i in reply.regions)
    assert all(i in reply.regions for group in reply.groups for i in group.regions)


@given(st.dictionaries(labels.filter(bool), st.lists(st.integers(0, 99), unique=True), max_size=5))
def test_parse_is_the_inverse_of_grounded(groups: dict[str, list[int]]):
    reply = parse("".join(grounded(label, regions) for label, regions in groups.items()), 100)
    assert {label: list(regions) for label, regions in reply.by_label().items()} == groups
    assert reply.dropped == ()
