"""Laws of the rule planner: no text makes it fail, plans are plans, and manners do not change the meaning."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fo1agent.agent import Agent, NotUnderstood, Plan
from fo1agent.planners.rules import RulePlanner
from fo1agent.words.lexicon import plural
from tests.coco_names import COCO_NAMES
from tests.labelled_scene import LabelledScene, Thing
from tests.scenes import SCENES

PLANNER = RulePlanner()
WORDINGS = [json.loads(line) for line in (Path(__file__).parents[2] / "data/phrasings.jsonl").read_text().splitlines()]
WORDS = sorted({word for w in WORDINGS for word in w["question"].split()})

salads = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)
names = st.sampled_from(COCO_NAMES)


@given(st.one_of(st.text(max_size=200), salads))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_a_plan_or_a_reason(text):
    found = PLANNER.plan(text)
    if isinstance(found, Plan):
        assert Plan.parse(found.to_json()) == found
    else:
        assert isinstance(found, NotUnderstood)
        assert found.reason


@given(salads, st.sampled_from(sorted(SCENES)))
@settings(max_examples=100, deadline=None)
def test_any_plan_runs_to_an_answer(text, scene):
    answer = Agent().ask(SCENES[scene](), text)
    assert answer.text
    assert answer.abstained == (answer.value is None)
    json.dumps(answer.to_dict())


@given(st.sampled_from(WORDINGS), st.sampled_from(["", "Please, ", "Could you tell me: ", "In this picture, ", "Hi, "]))
@settings(max_examples=150, deadline=None)
def test_manners_do_not_change_the_answer(wording, opening):
    question = wording["question"]
    varied = opening + question.upper().rstrip("?.!") + "   "
    # Where a question is not understood, politeness may make it understood; where it is, nothing may change.
    before = Agent().ask(SCENES[wording["scene"]](), question)
    if before.plan is not None:
        assert Agent().ask(SCENES[wording["scene"]](), varied).value == before.value


@given(names, names, st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_counts_are_counted_compared_and_summed(a, b, count_a, count_b):
    if a == b:
        return
    things = [Thing(a, (40 * i, 0, 40 * i + 30, 30)) for i in range(count_a)]
    things += [Thing(b, (40 * i, 200, 40 * i + 30, 230)) for i in range(count_b)]

    def value(question):
        return Agent().ask(LabelledScene(things), question).value

    some_a, some_b = plural(a), plural(b)
    assert value(f"How many {some_a} are there?") == count_a
    assert value(f"What is the number of {some_a} in the image?") == count_a
    assert value(f"Are there any {some_b} in the picture?") == (count_b > 0)
    assert value(f"Are there more {some_a} than {some_b}?") == (count_a > count_b)
    assert value(f"Do {some_a} outnumber {some_b}?") == (count_a > count_b)
    assert value(f"How many {some_a} and {some_b} are there altogether?") == count_a + count_b
    assert value(f"How many more {some_a} are there than {some_b}?") == count_a - count_b


@given(names, names, st.integers(0, 600), st.integers(0, 600))
@settings(max_examples=100, deadline=None)
def test_left_is_the_opposite_of_right(a, b, x_a, x_b):
    if a == b or x_a == x_b:
        return
    scene = LabelledScene([Thing(a, (x_a, 0, x_a + 30, 30)), Thing(b, (x_b, 5, x_b + 30, 35))])

    def value(question):
        return Agent().ask(scene, question).value

    assert value(f"Is the {a} to the left of the {b}?") == (x_a < x_b)
    assert value(f"Is the {a} on the right side of the {b}?") == (x_a > x_b)
    assert value(f"Is the {b} right of the {a}?") == (x_a < x_b)
    assert value(f"Is the {a} on the left or on the right of the {b}?") == ("left" if x_a < x_b else "right")
    assert value(f"How many {plural(a)} are to the left of the {b}?") == int(x_a < x_b)
