"""Templates are the exact words of the reference, one file each."""

from __future__ import annotations

import pytest

from fo1agent import prompts
from fo1agent.errors import InputError

COUNTING = (
    "Count each instance of the target object. Locate them with object indexes and then answer the question with the "
    "number of objects."
)
REASONING = (
    "First thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning "
    "process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> "
    "reasoning process here </think><answer> answer here </answer>. Please give a detailed reasoning process process "
    "and provide image regions that can help you answer the question better. {}"
)
EXPECTED = {
    "brief_region_caption": "Provide a brief description for {}.",
    "detailed_region_caption": "Provide a detailed description for {}.",
    "grounding": ("Briefly describe this image and detect all mentioned objects. Answer with grounded object indexes."),
    "od": "Please detect {} in this image. Answer the question with object indexes.",
    "od_all": "Please identify every object in the image and provide their labels along with their indexes.",
    "od_coco": "Please detect {} in the image and return the object indexes.",
    "od_counting": f"How many {{}} are there in this image? {COUNTING}",
    "od_counting_benchmark": f"How many {{}} are there in the image? {COUNTING}",
    "rec": "Please detect {} in this image. Answer the question with object indexes.",
    "region_ocr": "Please provide the ocr results of {} in the image.",
    "visual_prompt_od": (
        "Using the provided object {} as a reference, identify all other objects of the same category in this image. "
        "Respond with object indexes."
    ),
    "visual_region_reasoning": REASONING,
}


def test_every_template_is_the_reference_s_text():
    fo1 = [name for name in prompts.names() if not name.startswith("agent_")]
    assert {name: prompts.template(name) for name in fo1} == EXPECTED


def test_render_fills_the_argument_once_and_leaves_braces_in_it_alone():
    assert (
        prompts.render("od", "a {} box")
        == "Please detect a {} box in this image. Answer the question with object indexes."
    )


def test_render_says_when_an_argument_is_missing_or_too_many():
    with pytest.raises(InputError, match="takes an argument, got None"):
        prompts.render("od")
    with pytest.raises(InputError, match="takes no argument, got 'x'"):
        prompts.render("grounding", "x")


def test_an_unknown_template_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"No prompt template 'nope'.*brief_region_caption.*od"):
        prompts.template("nope")
