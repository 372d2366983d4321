"""The executor: each step on a picture whose things are known, batching, failures, records."""

import numpy as np
import pytest

from fo1agent.plans import language as p
from fo1agent.regions.regions import Regions
from fo1agent.runs.plan_run import Failure, Open, Run
from fo1agent.untrusted import UntrustedText
from tests.labelled_scene import LabelledScene, Thing
from tests.scenes import kitchen, street


def run(scene, *steps, of=None):
    """Run steps written as dicts; gives the run and its records."""
    numbered = [{**step, "id": f"s{i}"} for i, step in enumerate(steps, 1)]
    numbered.append({"op": "answer", "id": "s99", "of": [of or numbered[-1]["id"]]})
    done = Run(p.Plan.parse({"question": "", "steps": numbered}), scene)
    return done, list(done)


def result(scene, *steps):
    """The last step's result."""
    return run(scene, *steps)[0].results[f"s{len(steps)}"]


def find(phrase, purpose="count"):
    return {"op": "find", "phrase": phrase, "purpose": purpose}


def names(found):
    assert isinstance(found, Regions)
    return [region.name for region in found]


def kept(scene, *steps):
    """The regions that the last of some region steps gives."""
    done, _ = run(scene, *steps, {"op": "count", "of": f"s{len(steps)}"})
    return names(done.results[f"s{len(steps)}"])


def test_all_phrases_of_a_plan_are_grounded_in_one_pass():
    scene = street()
    done, _ = run(
        scene,
        find("person"),
        find("bus", "the"),
        find("car"),
        *({"op": "count", "of": f"s{i}"} for i in (1, 2, 3)),
        {"op": "arithmetic", "operation": "sum", "of": ["s4", "s5", "s6"]},
    )
    assert done.results["s7"] == 7
    assert scene.calls == ["ground_many"]
    assert done.meter.model_calls == 1


@pytest.mark.parametrize("purpose", ["count", "exists", "ground"])
def test_one_phrase_has_one_set_of_regions(purpose):
    scene = LabelledScene([Thing("dog", (0, 0, 10, 10), 0.38), Thing("dog", (20, 0, 30, 10), 0.9)])
    assert kept(scene, find("dog", purpose)) == ["r1"]
    unsure = LabelledScene([Thing("dog", (0, 0, 10, 10), 0.38), Thing("dog", (20, 0, 30, 10), 0.36)])
    assert kept(unsure, find("dog", purpose)) == ["r0"]  # none is sure, and the best one is likely enough


def test_what_is_taken_for_granted_is_the_best_region_even_if_unsure():
    unsure = LabelledScene([Thing("bus", (0, 0, 10, 10), 0.2), Thing("bus", (50, 0, 60, 10), 0.1)])
    assert kept(unsure, find("bus", "the")) == ["r0"]
    assert result(unsure, find("bus", "exists"), {"op": "exists", "of": "s1"}) is False
    hopeless = LabelledScene([Thing("bus", (0, 0, 10, 10), 0.01)])
    assert result(hopeless, find("bus", "the"), {"op": "count", "of": "s1"}) == Failure(
        "no region looks like “bus” (best 0.01)", "missing"
    )


def test_an_unknown_word_is_told_from_a_missing_thing():
    unknown = result(street(), find("ostrich"), {"op": "count", "of": "s1"})
    assert isinstance(unknown, Failure)
    assert unknown.kind == "unknown"
    assert "ostrich" in unknown.reason
    assert result(street(), find("zebra"), {"op": "count", "of": "s1"}) == 0


@pytest.mark.parametrize(
    ("relation", "people"),
    [("left_of", ["r1", "r0"]), ("right_of", ["r3", "r2"]), ("below", ["r3", "r1", "r2", "r0"]), ("above", [])],
)
def test_relations_are_to_the_reference(relation, people):
    steps = [find("person"), find("bus", "the"), {"op": "keep", "of": "s1", "relation": relation, "to": "s2"}]
    assert sorted(kept(street(), *steps)) == sorted(people)
    steps[2]["negated"] = True
    assert sorted(kept(street(), *steps)) == sorted({"r0", "r1", "r2", "r3"} - set(people))


def test_a_thing_is_in_no_relation_to_itself():
    steps = [find("person"), find("person", "the"), {"op": "keep", "of": "s1", "relation": "near", "to": "s2"}]
    scene = LabelledScene([Thing("person", (0, 0, 50, 50))])
    assert kept(scene, *steps) == []


def test_between_two_things():
    steps = [find("car"), find("bus", "the"), find("bicycle", "the")]
    keep = {"op": "keep", "of": "s1", "relation": "between", "to": "s2", "and_to": "s3"}
    assert kept(street(), *steps, keep) == ["r5"]


def test_in_front_stands_lower_and_in_the_same_direction():
    scene = LabelledScene(
        [Thing("car", (0, 0, 100, 100)), Thing("dog", (20, 80, 40, 120)), Thing("cat", (300, 0, 320, 150))]
    )
    for name, expected in (("dog", ["r1"]), ("cat", [])):
        steps = [find(name), find("car", "the"), {"op": "keep", "of": "s1", "relation": "in_front_of", "to": "s2"}]
        assert kept(scene, *steps) == expected
    steps = [find("car"), find("dog", "the"), {"op": "keep", "of": "s1", "relation": "behind", "to": "s2"}]
    assert kept(scene, *steps) == ["r0"]


@pytest.mark.parametrize(
    ("side", "people"),
    [("left", {"r0", "r1"}), ("right", {"r2", "r3"}), ("bottom", {"r0", "r1", "r2", "r3"}), ("top", set())],
)
def test_sides_of_the_picture(side, people):
    assert set(kept(street(), find("person"), {"op": "side", "of": "s1", "side": side})) == people


@pytest.mark.parametrize(
    ("by", "rank", "name"),
    [
        ("best", 1, "r3"),
        ("leftmost", 1, "r0"),
        ("leftmost", 2, "r1"),
        ("rightmost", 1, "r3"),
        ("largest", 1, "r3"),
        ("smallest", 1, "r0"),
        ("tallest", 1, "r3"),
        ("topmost", 1, "r0"),
        ("lowest", 1, "r2"),
    ],
)
def test_one_of_several_is_selected(by, rank, name):
    assert kept(street(), find("person"), {"op": "select", "of": "s1", "by": by, "rank": rank}) == [name]


def test_nearest_and_farthest_are_measured_from_something_else():
    for by, name in (("nearest", "r1"), ("farthest", "r3")):
        steps = [find("person"), find("handbag", "the"), {"op": "select", "of": "s1", "by": by, "to": "s2"}]
        assert kept(street(), *steps) == [name]


def test_selecting_from_too_few_is_missing():
    failed = result(
        street(),
        find("person"),
        {"op": "select", "of": "s1", "by": "leftmost", "rank": 9},
        {"op": "locate", "of": "s2"},
    )
    assert failed == Failure("there are only 4 to choose from", "missing")
    failed = result(
        street(), find("zebra"), {"op": "select", "of": "s1", "by": "largest"}, {"op": "locate", "of": "s2"}
    )
    assert failed == Failure("no region looks like “zebra”", "missing")


@pytest.mark.parametrize(
    ("comparison", "right", "truth"),
    [
        ("more", 3, True),
        ("more", 4, False),
        ("fewer", 5, True),
        ("equal", 4, True),
        ("different", 4, False),
        ("at_least", 4, True),
        ("at_most", 3, False),
    ],
)
def test_comparing_with_a_number(comparison, right, truth):
    steps = [find("person"), {"op": "count", "of": "s1"}]
    assert result(street(), *steps, {"op": "compare", "left": "s2", "comparison": comparison, "right": right}) is truth


def test_numbers_of_two_things():
    steps = [find("person"), find("car"), {"op": "count", "of": "s1"}, {"op": "count", "of": "s2"}]
    assert result(street(), *steps, {"op": "arithmetic", "operation": "difference", "of": ["s4", "s3"]}) == -2
    assert result(street(), *steps, {"op": "arithmetic", "operation": "absolute_difference", "of": ["s4", "s3"]}) == 2
    assert result(street(), *steps, {"op": "which", "of": ["s3", "s4"]}) == "person"
    assert result(street(), *steps, {"op": "which", "of": ["s3", "s4"], "direction": "fewest"}) == "car"
    assert result(street(), *steps, {"op": "which", "of": ["s3", "s3"]}) == "the same"


def test_measures():
    steps = [find("bus", "the"), find("dog", "the")]
    assert result(street(), *steps, {"op": "measure", "of": "s1", "quantity": "height"}) == 230
    assert result(street(), *steps, {"op": "measure", "of": "s1", "quantity": "area"}) == 46000
    gap = result(street(), *steps, {"op": "measure", "of": "s2", "quantity": "distance", "to": "s1"})
    assert gap == pytest.approx(35, abs=1)


def test_logic():
    steps = [find("dog"), find("cat"), {"op": "exists", "of": "s1"}, {"op": "exists", "of": "s2"}]
    assert result(street(), *steps, {"op": "logic", "operation": "all", "of": ["s3", "s4"]}) is False
    assert result(street(), *steps, {"op": "logic", "operation": "any", "of": ["s3", "s4"]}) is True
    assert result(street(), *steps, {"op": "logic", "operation": "not", "of": ["s4"]}) is True


def test_which_place():
    steps = [find("dog", "the"), find("bus", "the")]
    options = ["above", "left_of", "right_of"]
    assert result(street(), *steps, {"op": "place", "of": "s1", "to": "s2", "options": options}) == "left"
    assert result(street(), *steps, {"op": "place", "of": "s1", "options": ["right", "left"]}) == "left"
    assert (
        result(street(), *steps, {"op": "place", "of": "s1", "to": "s2", "options": ["above", "right_of"]}) == "neither"
    )


def test_names_come_from_the_scene():
    assert result(kitchen(), find("fruit"), {"op": "name", "of": "s1"}) == "3 bananas and an apple"
    assert result(kitchen(), find("fridge"), {"op": "name", "of": "s1"}) == "refrigerator"
    steps = [{"op": "find"}, {"op": "select", "of": "s1", "by": "largest"}, {"op": "name", "of": "s2"}]
    assert result(kitchen(), *steps) == "dining table"


def test_places_in_words():
    assert result(street(), find("stop sign"), {"op": "locate", "of": "s1"}) == "top right"
    assert result(street(), find("bus"), {"op": "locate", "of": "s1"}) == "middle"


def test_reading_a_region_the_picture_and_beside_something():
    assert result(street(), find("bus", "the"), {"op": "read", "of": "s1"}) == "CITY CENTRE 12"
    assert result(street(), {"op": "read"}) == "CITY CENTRE 12 STOP"
    steps = [find("traffic light", "the"), {"op": "read", "relation": "right_of", "to": "s1"}]
    assert result(street(), *steps) == "STOP"
    assert isinstance(result(street(), {"op": "read"}), UntrustedText)


def test_reading_what_is_not_there_gives_up_or_takes_the_picture():
    steps = [find("banner", "the"), {"op": "read", "of": "s1", "otherwise": "picture"}]
    assert result(street(), *steps) == Open("CITY CENTRE 12 STOP")  # whether it is on a banner nobody knows
    steps[1]["otherwise"] = "nothing"
    assert isinstance(result(street(), *steps), Failure)
    silent = result(street(), find("dog", "the"), {"op": "read", "of": "s1"})
    assert silent == Failure("there is no text that can be read there", "missing")


def test_describing_and_inspecting_ask_the_scene():
    assert result(street(), find("dog", "the"), {"op": "describe", "of": "s1"}) == "A dog."
    assert result(street(), {"op": "describe"}) == "A picture of 12 things."
    talkative = street()
    talkative.answers = True
    assert result(talkative, find("dog", "the"), {"op": "inspect", "of": "s1", "question": "asleep?"}) == "dog: asleep?"
    assert result(street(), find("bus", "the"), {"op": "inspect", "of": "s1", "question": "What color is it?"}) == "red"


def test_a_broken_tool_becomes_a_result_and_the_rest_goes_on():
    scene = street()
    scene.broken = ("read",)
    done, records = run(scene, find("bus", "the"), {"op": "read", "of": "s1"}, {"op": "count", "of": "s1"})
    assert done.results["s2"] == Failure("read is broken", "error")
    assert done.results["s3"] == 1
    assert records[1].error == "read is broken"


def test_our_own_bugs_are_raised():
    scene = street()
    scene.thresholds = {}
    with pytest.raises(KeyError):
        run(scene, find("bus"), {"op": "count", "of": "s1"})


def test_records_say_what_was_done():
    _, records = run(
        street(),
        find("person"),
        find("bus", "the"),
        {"op": "select", "of": "s2", "by": "best"},
        {"op": "keep", "of": "s1", "relation": "left_of", "to": "s3"},
        {"op": "count", "of": "s4"},
    )
    assert [record.tool for record in records] == ["find", "find", "select", "keep", "count"]
    assert [record.text for record in records] == [
        "“person”  r3 0.92  r0 0.91  r1 0.88  r2 0.83",
        "“bus”  r4 0.94",
        "best  r4",
        "left of r4  r0 r1",
        "2",
    ]
    as_json = records[3].to_dict()
    assert as_json["args"] == {"of": "s1", "relation": "left_of", "to": "s3", "each": False, "negated": False}
    assert as_json["regions"] == ["r0", "r1"]
    assert all(record.seconds >= 0 for record in records)


def test_a_picture_with_nothing_in_it():
    empty = LabelledScene([])
    assert result(empty, find("dog"), {"op": "count", "of": "s1"}) == 0
    assert isinstance(result(empty, {"op": "find"}, {"op": "name", "of": "s1"}), Failure)
    steps = [find("dog"), find("cat", "exists"), {"op": "keep", "of": "s1", "relation": "near", "to": "s2"}]
    assert kept(empty, *steps) == []


def test_the_scene_is_not_changed():
    scene = street()
    before = scene.regions.boxes.copy()
    run(scene, find("person"), {"op": "select", "of": "s1", "by": "leftmost"}, {"op": "locate", "of": "s2"})
    np.testing.assert_array_equal(before, scene.regions.boxes)


def test_a_share_of_more_things_than_it_is_taken_of_is_all_of_them():
    steps = [find("people"), {"op": "select", "of": "s1", "by": "largest"}]
    assert result(street(), *steps, {"op": "share", "of": "s1", "among": "s2", "quantity": "all"}) is True


def test_numbers_multiplied_over_and_over_are_no_result():
    steps = [find("people"), {"op": "count", "of": "s1"}]
    steps += [{"op": "arithmetic", "operation": "product", "of": [f"s{k}"] * 16} for k in range(2, 9)]
    found = result(street(), *steps)
    assert isinstance(found, Failure)
    assert found.reason == "the result is larger than any number that can be worked with"
    large = [{"op": "arithmetic", "operation": "sum", "of": ["s2", 10**15 - 4]}]
    assert result(street(), *steps[:2], *large) == 10**15
    assert isinstance(result(street(), *steps[:2], {**large[0], "of": ["s2", 10**15]}), Failure)
    below = {"op": "arithmetic", "operation": "difference", "of": ["s2", 10**15, 10**15]}
    assert isinstance(result(street(), *steps[:2], below), Failure)
