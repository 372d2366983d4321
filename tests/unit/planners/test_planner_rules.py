"""The rule planner: hundreds of wordings with known answers, what a plan looks like, pronouns, and what it refuses."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fo1agent.agent import Agent, NotUnderstood, Plan
from fo1agent.planners.rules import RulePlanner, grammar
from fo1agent.planners.rules.following import FOLLOW_UPS
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.preamble import drop_tag, starts
from fo1agent.planners.rules.tokens import tokenize
from fo1agent.plans import language as p
from tests.scenes import SCENES, street

WORDINGS = [json.loads(line) for line in (Path(__file__).parents[2] / "data/phrasings.jsonl").read_text().splitlines()]
ANYTHING = "*"

PLANNER = RulePlanner()


def plan(question) -> Plan:
    found = PLANNER.plan(question)
    assert isinstance(found, Plan), found
    return found


def ops(question):
    return [step.op for step in plan(question).steps[:-1]]


@pytest.mark.parametrize("wording", WORDINGS, ids=[w["question"] for w in WORDINGS])
def test_a_wording_gets_its_answer(wording):
    answer = Agent().ask(SCENES[wording["scene"]](), wording["question"])
    if wording["value"] == ANYTHING:
        assert not answer.abstained
    else:
        assert answer.value == wording["value"], answer.text
        assert isinstance(answer.value, bool) == isinstance(wording["value"], bool)


def test_there_are_many_wordings():
    assert len({w["question"] for w in WORDINGS}) > 1200


def test_the_example_of_the_design():
    found = plan("How many people are to the left of the bus, and what does its sign say?")
    assert [step.op for step in found.steps] == ["find", "find", "select", "keep", "count", "read", "answer"]
    read = found.step("s6")
    assert isinstance(read, p.Read)
    assert (read.of, read.noun) == ("s3", "sign")  # its: the bus's


def test_equal_steps_are_shared_between_clauses():
    assert ops("Is there a dog? Is there a dog? How many dogs are there?") == ["find", "exists", "find", "count"]


def test_purposes_choose_the_threshold():
    def purposes(question):
        return [step.purpose for step in plan(question).steps if isinstance(step, p.Find)]

    assert purposes("How many dogs are there?") == ["count"]
    assert purposes("Is there a dog?") == ["exists"]
    assert purposes("Is the dog left of the bus?") == ["the", "the"]
    assert purposes("How many dogs are near a bus?") == ["count", "exists"]
    assert purposes("What is on the table?") == ["ground", "the"]


@pytest.mark.parametrize(
    ("question", "phrase"),
    [
        ("How many small black dogs are there?", "small black dog"),
        ("How many black and white cats are there?", "black and white cat"),
        ("How many wine glasses are there?", "wine glass"),
        ("How many glasses of wine are there?", "glass of wine"),
        ("How many hot-dogs are there?", "hot dog"),
        ("How many slices of pizza can you see?", "slice of pizza"),
        ("How many parking meters are in the picture?", "parking meter"),
        ("How many people wearing ties are there?", "person"),
        ("How many of these dogs are visible?", "dog"),
        ("How many different dogs do you see?", "dog"),
        ("How many toothbrushes are there?", "toothbrush"),
    ],
)
def test_what_is_looked_for(question, phrase):
    first = plan(question).steps[0]
    assert isinstance(first, p.Find)
    assert first.phrase == phrase


@pytest.mark.parametrize(
    ("question", "relation"),
    [
        ("Is the cup on the table?", "on"),
        ("Is the cup on top of the table?", "on"),
        ("Is the cup in the bowl?", "inside"),
        ("Is the cup inside the bowl?", "inside"),
        ("Is the cup near the bowl?", "near"),
        ("Is the cup close to the bowl?", "near"),
        ("Is the cup right next to the bowl?", "next_to"),
        ("Is the cup beside the bowl?", "next_to"),
        ("Is the cup adjacent to the bowl?", "next_to"),
        ("Is the cup in front of the bowl?", "in_front_of"),
        ("Is the cup behind the bowl?", "behind"),
        ("Is the cup directly above the bowl?", "above"),
        ("Is the cup underneath the bowl?", "below"),
        ("Is the cup touching the bowl?", "overlaps"),
        ("Is the man riding the horse?", "on"),
        ("Is the man holding the cup?", "near"),
        ("Is the cup left of the bowl?", "left_of"),
        ("Is the cup off to the right of the bowl?", "right_of"),
    ],
)
def test_relations(question, relation):
    assert [step.relation for step in plan(question).steps if isinstance(step, p.Keep)] == [relation]


@pytest.mark.parametrize(
    ("question", "by", "rank"),
    [
        ("Where is the largest dog?", "largest", 1),
        ("Where is the second largest dog?", "largest", 2),
        ("Where is the leftmost dog?", "leftmost", 1),
        ("Where is the left-most dog?", "leftmost", 1),
        ("Where is the third dog from the right?", "rightmost", 3),
        ("Where is the dog farthest to the left?", "leftmost", 1),
        ("Where is the dog on the far right?", "rightmost", 1),
        ("Where is the left dog?", "leftmost", 1),
        ("Where is the dog nearest to the bus?", "nearest", 1),
        ("Where is the closest dog to the bus?", "nearest", 1),
        ("Where is the dog furthest from the bus?", "farthest", 1),
        ("Which dog is the tallest?", "tallest", 1),
        ("Which dog is closest to the bus?", "nearest", 1),
        ("Which of the dogs is the highest?", "topmost", 1),
        ("Where is the lowest dog?", "lowest", 1),
    ],
)
def test_superlatives(question, by, rank):
    chosen = [(step.by, step.rank) for step in plan(question).steps if isinstance(step, p.Select)]
    assert [order for order in chosen if order != ("best", 1)] == [(by, rank)]


@pytest.mark.parametrize(
    ("question", "values"),
    [
        ("How many people are there, and where are they?", [4, "right and left"]),
        ("Is there a dog and is it left of the bus?", [True, True]),
        ("How many cars are there? And people? And dogs?", [2, 4, 1]),
        ("Is there a bus, and how many people are to its left?", [True, 2]),
        ("Where is the bus and what is it?", ["middle", "A bus."]),
        ("Where are the bus and the dog?", ["middle", "left"]),
        ("Where are the bus, the dog and the people?", ["middle", "left", "right and left"]),
        ("Is the dog left of the bus, and is it near a person?", [True, True]),
        ("How many people are there and is the leftmost one left of the bus?", [4, True]),
    ],
)
def test_pronouns_mean_the_latest_matching_thing(question, values):
    assert Agent().ask(street(), question).value == values


@pytest.mark.parametrize(
    ("question", "suggestion"),
    [
        ("Why are there so many dogs?", "How many dogs are there?"),
        ("Why do the dogs run?", "dog"),
        ("blorptastic please", "How many … are there?"),
        ("", "How many … are there?"),
        ("?!", "How many … are there?"),
    ],
)
def test_what_is_not_understood_comes_with_a_question_that_is(question, suggestion):
    found = PLANNER.plan(question)
    assert isinstance(found, NotUnderstood)
    assert found.reason
    if suggestion is None or "…" not in suggestion:
        assert isinstance(PLANNER.plan(found.suggestion), Plan), found.suggestion


def test_a_pronoun_without_antecedent_is_refused():
    found = PLANNER.plan("Is it left of the bus?")
    assert isinstance(found, NotUnderstood)
    assert "“it”" in found.reason


@pytest.mark.parametrize("question", ["dogs, " * 60, "a" * 5000, "is there a dog and " * 24, "how many dogs? " * 20])
def test_endless_questions_are_refused_quickly(question):
    start = time.perf_counter()
    assert isinstance(PLANNER.plan(question), NotUnderstood)
    assert time.perf_counter() - start < 2


def test_tokens():
    assert tokenize("What's the left-hand dog’s colour?") == ["what", "is", "the", "left", "dog", "'s", "color", "?"]
    assert tokenize("ISN'T there a T-shirt…") == ["is", "not", "there", "a", "t", "shirt", ".", ".", "."]
    assert tokenize("the buses' signs") == ["the", "buses", "'s", "signs"]


def test_planning_needs_no_torch():
    code = (
        "import sys; from fo1agent.planners.rules import RulePlanner; RulePlanner().plan('How many dogs?');"
        "assert not {'torch', 'transformers', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("production", grammar.PRODUCTIONS, ids=lambda production: production.__name__)
def test_every_production_reads_its_own_examples(production):
    examples = re.findall(r"[“\"]([^”\"]+)[”\"]", production.__doc__.split("\n\n")[0].partition("Args:")[0])
    assert examples, "a production's docstring begins with what it reads"
    unread = [example for example in examples if not reads(production, example)]
    assert not unread


def reads(production, example: str) -> bool:
    """Whether a production reads a whole question, with the words that are given in brackets or without them."""
    for text in (example.replace("(", "").replace(")", ""), re.sub(r"\([^)]*\)\s*", "", example)):
        for words, _ in grammar.joined_sentences(tokenize(text)):
            for lenient in (False, True):
                parser = Parser(words, lenient)
                for start in starts(parser):
                    parser.tokens, parser.i = words, start
                    drop_tag(parser)
                    if production(parser) is not None and parser.at_end():
                        return True
    return False


@pytest.mark.parametrize(
    ("first", "production", "examples"),
    [
        (
            re.findall(r"\(([^)]*)\)", str(production.__doc__)),
            production,
            re.findall(r"\)\s*([^\"(]+)\"", str(production.__doc__)),
        )
        for production in FOLLOW_UPS
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_every_follow_up_reads_its_own_example(first, production, examples):
    before = grammar.parse(tokenize(first[0]))
    assert before
    assert examples
    for example in examples:
        words = [token for token in tokenize(example) if token not in ("?", ".", "…", "and")]
        parser = Parser(words)
        assert production(parser, before) is not None
        assert parser.at_end()
