"""What finders say of a picture beside the model: a toy model and toy finders, so that every number is known."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fo1agent
from fo1agent.agent import replay as replays
from fo1agent.agent.claims import Claim, _not_in_results
from fo1agent.agent.differences import compare
from fo1agent.agent.support import Results
from fo1agent.errors import InputError, ProposalError
from fo1agent.integrations.langchain import FO1Toolkit
from fo1agent.model.joined import JoinedPredictor
from fo1agent.proposals.base import to_regions
from fo1agent.proposals.trust import Trust, log_odds
from fo1agent.regions.regions import Regions
from fo1agent.runs.batching import Batched
from fo1agent.runs.watched import watched_scene
from fo1agent.scene import Model
from fo1agent.tools.registry import registry
from fo1agent.traces import store

CAT = Path(fo1agent.__file__).parent / "data" / "demo" / "cat.jpg"


class Toy:
    """Finds fixed boxes, and remembers what it was asked."""

    def __init__(
        self, boxes: Mapping[str, Sequence[tuple[Sequence[float], float]]], names=None, trust: Trust | None = None
    ) -> None:
        self.boxes, self.names, self.name, self.asked = boxes, names, "toy", []
        self.trust = trust or Trust(silent=0.03)

    def find(self, image, phrases):
        self.asked += phrases
        return [self._of(image, self.boxes.get(phrase, [])) for phrase in phrases]

    def _of(self, image, found):
        boxes, scores = [box for box, _ in found], [score for _, score in found]
        return to_regions(image, np.array(boxes).reshape(-1, 4), np.array(scores), [None] * len(found), self.name)


@pytest.fixture(scope="module")
def alone():
    return fo1agent.load()


def _open(alone, *finders: Toy):
    return Model(JoinedPredictor(alone.predictor, finders), alone.proposer).open(CAT)


def test_a_word_that_only_a_finder_knows_is_found_where_it_says(alone) -> None:
    assert alone.open(CAT).ground("ostrich").note == "fo1-nano does not know “ostrich”. It knows bird."
    found = _open(alone, Toy({"ostrich": [([300, 350, 330, 400], 0.9)]})).ground("ostriches")
    assert [(one.name, one.label) for one in found] == [("b300_350_330_400", "ostrich")]
    assert found.scores == pytest.approx([0.9])
    assert (found.by, found.note) == (("toy",), "")


def test_who_does_not_know_a_word_costs_nothing(alone) -> None:
    scene = _open(alone, Toy({}, names=("zebra",)))
    plain = alone.open(CAT)
    assert np.abs(scene.ground("cat").scores - plain.ground("cat").scores).max() < 1e-9
    assert scene.ground("cat").by == ()


def test_opinions_are_joined_in_log_odds_by_their_weights(alone) -> None:
    plain = alone.open(CAT)
    cat = plain.ground("cat")[0]
    toy = Toy({"cat": [(list(cat.box), 0.6)]}, trust=Trust(scale=2.0, bias=0.5, weight=3.0))
    found = _open(alone, toy).ground("cat")
    own, its = log_odds(np.array(cat.score)), 2.0 * log_odds(np.array(0.6)) + 0.5
    assert found[0].score == pytest.approx(1 / (1 + np.exp(-(own + 3 * its) / 4)), abs=1e-6)
    assert found.by == ("fo1-nano", "toy")
    toy = Toy({"cat": [(list(cat.box), 0.6)]}, trust=Trust(scale=2.0, bias=0.5, weight=3.0, sure=1.5, shift=-0.5))
    surer = 1.5 * (own + 3 * its) / 4 - 0.5
    assert _open(alone, toy).ground("cat")[0].score == pytest.approx(1 / (1 + np.exp(-surer)), abs=1e-6)
    silent = _open(alone, Toy({"cat": []}, trust=Trust(scale=2.0, bias=0.5, silent=0.1))).ground("cat", threshold=0)
    its = 2.0 * log_odds(np.array(0.1)) + 0.5
    assert silent[0].score == pytest.approx(1 / (1 + np.exp(-(own + its) / 2)), abs=1e-6)


def test_a_finder_without_weight_changes_nothing(alone) -> None:
    plain = alone.open(CAT).ground("remote")
    found = _open(alone, Toy({"remote": [([0, 0, 50, 50], 0.9)]}, trust=Trust(weight=0.0))).ground("remote")
    assert [one.name for one in found] == [one.name for one in plain]
    assert found.scores == pytest.approx(plain.scores)
    assert found.by == ()


def test_a_finder_whose_scores_tell_nothing_is_not_there(alone) -> None:
    nothing = Trust(scale=0.0)
    wide = Toy({"lemur": [([300, 350, 330, 400], 0.9)]}, trust=nothing)
    closed = Toy({"ostrich": [([300, 350, 330, 400], 0.9)]}, names=("ostrich", "cat"), trust=nothing)
    scene, plain = _open(alone, wide, closed), alone.open(CAT)
    for phrase in ("cat", "lemur", "ostrich"):
        found, own = scene.ground(phrase), plain.ground(phrase)
        assert (found.ids, found.note, found.by, found.none_score) == (own.ids, own.note, (), own.none_score)
        assert (found.scores == own.scores).all()
    assert wide.asked == closed.asked == []
    assert scene.regions.labels == plain.regions.labels
    joined: Any = scene.model.predictor
    assert (joined.any_words, joined.vocabulary) == (False, alone.predictor.vocabulary)
    assert joined.finders == (wide, closed)
    beside = _open(alone, wide, Toy({"lemur": [([300, 350, 330, 400], 0.9)]}))
    assert beside.ground("lemur").scores == pytest.approx([0.9])


def test_a_finder_that_nobody_has_calibrated_lowers_nothing(alone) -> None:
    cat = alone.open(CAT).ground("cat")[0]
    x1, y1, *_ = cat.box
    advised, fitted = Trust.at(0.3), Trust(silent=0.03)

    def score(trust: Trust, *found: tuple) -> float:
        return _open(alone, Toy({"cat": list(found)}, trust=trust)).ground("cat", threshold=0.0)[0].score

    assert score(advised) == pytest.approx(cat.score, abs=1e-9)
    assert score(advised, (cat.box, 0.3)) == pytest.approx(cat.score, abs=1e-9)
    assert score(advised, ((x1, y1, x1 + 20, y1 + 20), 0.9)) == pytest.approx(cat.score, abs=1e-9)
    assert score(advised, (cat.box, 1.0)) > cat.score
    assert score(fitted) < cat.score - 0.2
    for given in (SimpleNamespace(), SimpleNamespace(trust="high")):
        assert not Trust.of(given).lowers


def test_a_calibrated_finder_is_raised_by_others_and_not_lowered(alone) -> None:
    box = [300, 350, 330, 400]
    sure = Toy({"ostrich": [(box, 0.8)]}, trust=Trust())
    for other, expected in ((0.6, 0.8), (0.0, 0.8), (0.95, None)):
        finder = Toy({"ostrich": [(box, other)] if other else []}, trust=Trust(lowers=False))
        finder.name = "other"
        (score,) = _open(alone, finder, sure).ground("ostrich").scores
        mean = log_odds(np.array([0.8, 0.95])).mean()
        assert score == pytest.approx(expected or 1 / (1 + np.exp(-mean)))


def test_a_closed_finder_is_asked_for_its_names_and_adds_them_to_the_vocabulary(alone) -> None:
    toy = Toy({"sofa": [([5, 60, 620, 460], 0.9)], "ostrich": [([300, 350, 330, 400], 0.9)]}, names=("sofa", "ostrich"))
    scene = _open(alone, toy)
    assert scene.ground("couch").by == ("fo1-nano", "toy")
    assert toy.asked == ["sofa"]
    assert scene.ground("ostrich")[0].name == "b300_350_330_400"
    assert scene.model.predictor.vocabulary == (*alone.predictor.vocabulary, "ostrich")
    assert scene.ground("giraffe").by == ()
    assert scene.ground("lemur").note


def test_a_finder_is_asked_once_about_a_phrase_and_ids_do_not_depend_on_what_was_asked_before(alone) -> None:
    boxes = {"ostrich": [([300, 350, 330, 400], 0.9)], "lemur": [([10, 350, 40, 400], 0.9)]}
    first, other = Toy(boxes), Toy(boxes)
    scene, again = _open(alone, first), _open(alone, other)
    before = scene.regions.ids
    ids = {phrase: scene.ground(phrase).ids for phrase in ("ostrich", "lemur", "ostrich")}
    assert {phrase: again.ground(phrase).ids for phrase in ("lemur", "ostrich")} == ids
    assert first.asked == ["ostrich", "lemur"]
    assert scene.regions.ids == before
    assert (scene.count("ostrich", within="r1").value, scene.count("lemur", within="r1").value) == (1, 0)


def test_what_a_phrase_says_beside_its_noun_stays_not_judged(alone) -> None:
    found = _open(alone, Toy({"ostrich": [([300, 350, 330, 400], 0.9)]})).ground(
        "two angry ostriches sitting on a couch"
    )
    assert (found.judged, set(found.not_judged)) == ("ostrich", {"two", "angry", "sitting on a couch"})


def test_a_finder_that_gives_something_else_is_told(alone) -> None:
    class Wrong(Toy):
        def find(self, image, phrases):
            return [Regions.empty()] * (len(phrases) + 1)

    with pytest.raises(ProposalError, match="toy was asked for 1 phrases; wanted Regions of each"):
        _open(alone, Wrong({})).ground("ostrich")
    with pytest.raises(InputError, match="is no finder"):
        fo1agent.load(finder=[lambda image: None])  # pyright: ignore[reportArgumentType]


def test_a_plan_says_who_judged(alone) -> None:
    scene = _open(alone, Toy({"ostrich": [([300, 350, 330, 400], 0.9)]}))
    answer = fo1agent.Agent(scene.model).ask(scene, "How many ostriches are there?")
    assert answer.value == 1
    assert answer.steps[0].gave == "b300_350_330_400 0.90  by toy"


def test_a_finder_that_fails_is_a_failed_tool(alone) -> None:
    class Broken(Toy):
        def find(self, image, phrases):
            raise RuntimeError("no memory")

    scene = _open(alone, Broken({}))
    with pytest.raises(ProposalError, match=r"^toy failed: no memory$"):
        scene.ground("ostrich")
    outcome = registry()["ground"].call(scene, {"phrase": "ostrich"})
    assert (outcome.error, outcome.retry) == ("toy failed: no memory", False)


def test_of_an_unknown_word_the_finder_s_box_is_shown_not_a_region_that_half_covers_it(alone) -> None:
    region = alone.open(CAT).regions.boxes[1]
    x1, y1, x2, y2 = region.round().tolist()
    lower = x1, y1, x2, y1 + round(0.65 * (y2 - y1))
    found = _open(alone, Toy({"ostrich": [(list(lower), 0.9)]})).ground("ostrich", threshold=0.0)
    assert [one.box for one in found if one.score > 0.3] == [lower]
    same = _open(alone, Toy({"ostrich": [((region + 1).tolist(), 0.9)]})).ground("ostrich", threshold=0.3)
    assert [one.name for one in same] == ["r1"]
    assert 0.8 < same[0].score < 0.9


def test_what_nobody_speaks_of_is_not_there(alone) -> None:
    found = _open(alone, Toy({"ostrich": []})).ground("ostrich", threshold=0.0)
    assert found.scores.max() == 0
    assert (found.none_score, found.by, found.note) == (1.0, ("toy",), "")


def test_passes_of_finders_are_heard_and_each_once(alone) -> None:
    heard: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def listener(kind, model, pixels):
        heard.append((kind, model))
        yield

    boxes = {"ostrich": [([300, 350, 330, 400], 0.9)], "lemur": [], "cat": []}
    scene = watched_scene(_open(alone, Toy(boxes), Toy({}, names=("zebra",))), listener)
    scene.ground_many(["ostrich", "lemur", "cat"])
    scene.count("ostrich")
    assert [one for one in heard if one[0] == "find"] == [("find", "toy")]
    assert ("match", "fo1-nano") in heard
    heard.clear()
    scene.count("zebra")
    assert heard[0] == ("find", "toy, toy")  # one of any words, and one that has it


def test_threads_that_share_a_finder_ask_it_one_by_one_and_once(alone) -> None:
    class Slow(Toy):
        busy = False

        def find(self, image, phrases):
            assert not self.busy, "asked by two threads"
            self.busy = True
            try:
                gate.wait(0.05)
                return super().find(image, phrases)
            finally:
                self.busy = False

    gate = threading.Event()  # never set: others have time to come
    toy = Slow({"ostrich": [([300, 350, 330, 400], 0.9)]})
    model = Model(JoinedPredictor(alone.predictor, [toy]), alone.proposer)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: model.open(CAT).count("ostrich").value, range(8)))
    assert counts == [1] * 8
    assert toy.asked == ["ostrich"]


def test_a_server_s_batching_gives_finders_passes_of_their_own(alone) -> None:
    passes: list[str] = []
    toy = Toy({"ostrich": [([300, 350, 330, 400], 0.9)], "cat": [], "couch": []}, names=("ostrich", "couch"))
    plain = Model(JoinedPredictor(alone.predictor, [toy]), alone.proposer)
    batched = Batched(
        JoinedPredictor(alone.predictor, [toy]), on_pass=lambda kind, jobs, different: passes.append(kind)
    )
    try:
        model = Model(batched, alone.proposer)
        asked = ["ostrich", "cat", "couch"]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: model.open(CAT).ground_many(asked), range(4)))
        names = model.open(CAT).regions.labels
    finally:
        batched.close()
    here = plain.open(CAT)
    for phrase, regions in here.ground_many(asked).items():
        for one in found:
            assert (one[phrase].ids, one[phrase].by) == (regions.ids, regions.by)
            np.testing.assert_allclose(one[phrase].scores, regions.scores, atol=1e-6)
    assert passes.index("find") < passes.index("beyond")
    assert names == here.regions.labels


@pytest.mark.parametrize("face", ["tool", "langchain"])
def test_tools_tell_who_judged(face, alone) -> None:
    scene = _open(alone, Toy({"ostrich": [([300, 350, 330, 400], 0.9)]}))
    if face == "tool":
        outcome = registry()["count"].call(scene, '{"phrase": "ostriches"}')
        told = json.loads(outcome.model_dump_json())["result"]
    else:
        toolkit = FO1Toolkit(scene.model)
        toolkit.scenes.open(CAT)
        (handle,) = toolkit.scenes.handles
        count = next(one for one in toolkit.get_tools() if one.name == "count")
        told = json.loads(count.invoke({"image": handle, "phrase": "ostriches"}))
    assert (told["value"], told["by"]) == (1, ["toy"])
    assert told["regions"][0]["id"] == "b300_350_330_400"


def test_a_run_with_a_finder_is_replayed_the_same(alone, tmp_path) -> None:
    toy = Toy({"ostrich": [([300, 350, 330, 400], 0.9)]})
    model = Model(JoinedPredictor(alone.predictor, [toy]), alone.proposer)
    question = "How many ostriches are there?"
    fo1agent.Agent(model, traces=tmp_path).ask(CAT, question)
    (file,) = tmp_path.rglob("*.jsonl")
    trace = store.read(file)
    assert trace.lines[-1].model_dump()["costs"]["calls"]["find"] == 1
    again = replays.replay(trace, replays.open_picture(trace, model, CAT), registry())
    assert compare(trace, again, replayed=True).same
    without = replays.replay(trace, replays.open_picture(trace, alone, CAT), registry())
    assert not compare(trace, without, replayed=True).same


BUS = CAT.with_name("bus.jpg")


class Found(Toy):
    """A finder that was not calibrated."""

    def __init__(self, boxes: Mapping[str, Sequence[tuple[Sequence[float], float]]], names=None) -> None:
        super().__init__(boxes, names, Trust(lowers=False))


def _ask(alone, finder: Toy, question: str):
    return fo1agent.Agent(Model(JoinedPredictor(alone.predictor, [finder]), alone.proposer)).ask(BUS, question)


NARROWER = {
    "How many taxis are there?": "There are 2 cars; which of them are taxis I can't tell.",
    "Is there a policeman?": "There is 1 person; whether the person is a policeman I can't tell.",
    "Is the person a woman?": "The person is a person; whether the person is a woman I can't tell.",
    "Where are the taxis?": "The cars are next to the bus (r0), at the bottom left of the picture (r44 and r3); "
    "which of them are taxis I can't tell.",
    "How many women are left of the bus?": "1 person is to the left of the bus; "
    "whether the person is a woman I can't tell.",
}
"""What the model says alone of words that it has wider ones for."""


@pytest.mark.parametrize("names", [None, ("woman", "policeman", "taxi")])
def test_where_a_finder_that_nobody_has_calibrated_sees_nothing_the_model_s_own_answer_stays(alone, names) -> None:
    for question, said in NARROWER.items():
        answer = _ask(alone, Found({}, names), question)
        assert (str(answer), answer.value) == (said, None)
    model = Model(JoinedPredictor(alone.predictor, [Found({}, names)]), alone.proposer)
    found, own = model.open(BUS).ground("taxi"), alone.open(BUS).ground("taxi")
    assert [one.name for one in found] == [one.name for one in own] == ["r44", "r3"]
    assert (found.judged, found.not_judged) == ("car", ("taxi",))
    count = model.open(BUS).count("taxis and cats")
    assert (count.value, count.at_least, count.at_most, count.regions.ids) == (None, 0, 2, own.ids)


@pytest.mark.parametrize("names", [None, ("woman", "taxi")])
def test_what_a_finder_sees_are_the_things_and_one_that_is_calibrated_may_deny_them(alone, names) -> None:
    car = alone.open(BUS).ground("car")[0]
    sees = Found({"taxi": [(list(car.box), 0.9)]}, names)
    answer = _ask(alone, sees, "How many taxis are there?")
    assert (str(answer), answer.value, [one.name for one in answer.evidence]) == ("There is 1 taxi.", 1, ["r44"])
    assert _ask(alone, sees, "How many cars are there?").value == 2
    scene = Model(JoinedPredictor(alone.predictor, [sees]), alone.proposer).open(BUS)
    assert scene.count("taxi", within="r0").value == 0  # it sees one, elsewhere
    hardly = Found({"taxi": [(list(car.box), 0.05)]}, names)
    assert str(_ask(alone, hardly, "How many taxis are there?")) == NARROWER["How many taxis are there?"]
    assert str(_ask(alone, Toy({}, names, Trust()), "How many taxis are there?")) == "There are no taxis."


def test_a_caption_s_word_that_no_finder_sees_is_as_likely_as_the_model_s_own_wider_one(alone, monkeypatch) -> None:
    joined = JoinedPredictor(alone.predictor, [Found({})])
    said = "<ground>A taxi</ground><objects><region44></objects> by <ground>a bus</ground><objects><region0></objects>."
    monkeypatch.setattr(joined, "generate", lambda *given: said)
    scene = Model(joined, alone.proposer).open(BUS)
    told, (car, *_), (bus,) = scene.describe(), alone.open(BUS).ground("car"), alone.open(BUS).ground("bus")
    assert (told.text, told.source) == ("A taxi by a bus.", "model")
    assert [(one.name, one.label, one.score) for one in told.regions] == [
        ("r44", "A taxi", car.score),
        ("r0", "a bus", bus.score),
    ]


def test_a_claim_of_what_no_finder_saw_is_not_borne_out(alone) -> None:
    scene = Model(JoinedPredictor(alone.predictor, [Found({})]), alone.proposer).open(BUS)
    results, taxis = Results(), Claim(what="taxis", count=2, says=None)
    results.add(registry()["ground"].call(scene, '{"phrase": "taxi"}'))
    said = _not_in_results(taxis, list(scene.ground("taxi")), results, scene)
    assert said == ["“taxis”: “taxi” could not be judged"]


def test_a_trust_is_made_of_numbers_that_can_be_reckoned_with(alone) -> None:
    wrong: tuple[dict[str, Any], ...] = ({"scale": 1e308}, {"bias": -1e308}, {"weight": 2e6})
    for given in wrong:
        with pytest.raises(InputError, match=r"^The numbers of a Trust lie from -1e\+06 to 1e\+06, got "):
            Trust(**given)
    cat = alone.open(CAT).ground("cat")[0]
    for bias, score in ((1e6, 1.0), (-1e6, 0.0)):
        toy = Toy({"cat": [(list(cat.box), 0.6)]}, trust=Trust(scale=1e6, bias=bias, weight=1e6, sure=1e6))
        assert _open(alone, toy).ground("cat", threshold=0.0)[0].score == pytest.approx(score, abs=1e-9)


def test_where_a_finder_says_nothing_no_score_is_rounded(alone) -> None:
    plain = alone.open(BUS)
    scene = Model(JoinedPredictor(alone.predictor, [Found({})]), alone.proposer).open(BUS)
    for phrase in ("car", "dog"):
        own, found = plain.ground(phrase, threshold=0.0), scene.ground(phrase, threshold=0.0)
        assert found.ids == own.ids
        assert own.scores.min() < 1e-5
        assert found.scores == pytest.approx(own.scores, rel=1e-3, abs=1e-9)


def test_a_finder_s_own_name_is_asked_for_before_its_words_are_judged_apart(alone) -> None:
    car = alone.open(BUS).ground("car")[0]
    toy = Found({"red thing": [(list(car.box), 0.9)]}, ("red thing",))
    for phrase in ("red thing", "red things", "Red things"):
        found = Model(JoinedPredictor(alone.predictor, [toy]), alone.proposer).open(BUS).ground(phrase)
        assert ([one.name for one in found], found.judged) == (["r44"], "red thing")
    assert str(_ask(alone, toy, "How many red things are there?")) == "There is 1 red thing."


def test_two_models_that_share_a_finder_share_its_lock(alone) -> None:
    class Plain(Found):
        __slots__ = ()
        __hash__ = None  # pyright: ignore[reportAssignmentType]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Plain)

    toy = Plain({})
    one, two = (JoinedPredictor(alone.predictor, [toy]) for _ in range(2))
    other = JoinedPredictor(alone.predictor, [Plain({})])
    assert one._locks[0] is two._locks[0]
    assert one._locks[0] is not other._locks[0]


def test_a_word_that_means_more_than_the_model_s_name_is_looked_for_by_a_finder(alone) -> None:
    assert str(_ask(alone, Found({"lamp": []}), "How many phones are there?")).startswith("I can't tell: ")
    car = alone.open(BUS).ground("car")[0]
    sees = Found({"phone": [(list(car.box), 0.9)]})
    assert str(_ask(alone, sees, "How many phones are there?")) == "There is 1 phone."
    assert str(_ask(alone, Toy({}, None, Trust()), "How many phones are there?")) == "There are no phones."
