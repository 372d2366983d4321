"""What an answer claims, checked against the picture: regions that were in no result, words that nothing can judge,
and, on request, a second look.

The second look grounds again what each region is said to be, counts again by the rules' own plan where they have one,
and reads again what is said to be written. It uses the same model as the tools, so it finds what an answer made up or
mixed up, not what the model sees wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field

from fo1agent.agent.support import Results
from fo1agent.errors import BudgetExceeded, InputError, ToolError
from fo1agent.planners.rules import RulePlanner
from fo1agent.plans.language import Are, Count, Find, Number, Plan
from fo1agent.regions.boxes import iou
from fo1agent.regions.ids import NAME, name_of
from fo1agent.regions.regions import Region, Regions
from fo1agent.runs.budget import Meter
from fo1agent.runs.plan_run import Failure, Open, Run
from fo1agent.runs.second_look import SAME_IOU, grounded, said_not_judged, unlike
from fo1agent.words.phrases import meanings

# What may stand before a phrase in a claim and says nothing of the things.
_COUNTED = re.compile(
    r"^(?:(?:the|a|an|no|only|exactly|about|both|all|one|two|three|four|five|six|seven|eight|nine|ten|\d+)\s+)+",
    re.IGNORECASE,
)
_CITED = re.compile(rf"\b{NAME}\b")


class Claim(BaseModel):
    """Something that an answer says about regions."""

    what: str = Field(description='A short noun phrase: "remote to the right of the cat".', max_length=500)
    regions: list[Annotated[str, Field(max_length=200)]] = Field(
        default=[], description="Ids of the regions that it is about, such as r3; may be none.", max_length=256
    )
    count: Number | None = Field(None, description="How many there are, if the answer says so.")
    says: str | None = Field(None, description="The text on it, if the answer says so.", max_length=4000)


@dataclass
class Verdict:
    """What is left of an answer.

    Attributes:
        evidence: regions that were in results and passed.
        unsupported: what is not supported, and why, one clause each.
        nothing_left: whether no claim is supported.
        counted: numbers of claims that are supported.
        refuted: numbers of claims that are not.
    """

    evidence: list[Region] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    nothing_left: bool = False
    counted: list[int] = field(default_factory=list)
    refuted: list[int] = field(default_factory=list)


def cited(text: str) -> list[str]:
    """The region ids in a text, in order, each once."""
    return list(dict.fromkeys(_CITED.findall(text)))


def checked(
    claims: Sequence[Claim],
    named: Sequence[str],
    known: Mapping[str, Region],
    results: Results,
    scene: Any,
    meter: Meter,
    look: bool,
) -> Verdict:
    """Check an answer against what is known.

    Args:
        claims: what it says.
        named: ids that its text names beside the claims'.
        known: short id → region, of all that stood in results.
        results: what the tools returned.
        scene: the picture.
        meter: pays for the second look.
        look: whether to look a second time; without it, claims are checked against the results alone.
    """
    verdict = Verdict()
    evidence: dict[str, Region] = {}
    good = 0
    for claim in claims:
        names = list(dict.fromkeys(map(name_of, claim.regions)))
        wrong = [f"{name}: it was in no result" for name in names if name not in known]
        regions = [known[name] for name in names if name in known]
        stands = bool(regions) or not names  # "no dogs" is about no region
        if look:
            try:
                regions, more, contradicted = _second_look(claim, regions, scene, meter)
            except BudgetExceeded as exc:
                regions, more, contradicted = [], [f"“{claim.what}” was not checked: {exc}"], True
            wrong += more
            stands = not contradicted and (bool(regions) or not names)
        else:
            more = _not_in_results(claim, regions, results, scene)
            wrong += more
            contradicted = bool(more)
        if claim.count is not None:
            (verdict.refuted if contradicted else verdict.counted).append(claim.count)
        evidence.update({region.id: region for region in regions})
        verdict.unsupported += wrong
        good += stands
    claimed = {name_of(name) for claim in claims for name in claim.regions}
    for name in named:
        if name in known and name not in claimed and not look:
            evidence[known[name].id] = known[name]
        elif name not in known and name not in claimed:
            verdict.unsupported.append(f"{name}: it was in no result")
    verdict.evidence = list(evidence.values())
    verdict.unsupported = list(dict.fromkeys(verdict.unsupported))
    verdict.nothing_left = not good and bool(claims or look)
    return verdict


def _second_look(claim: Claim, regions: list[Region], scene: Any, meter: Meter) -> tuple[list[Region], list[str], bool]:
    """(regions of a claim that are borne out, what is not, whether the claim itself is contradicted)."""
    wrong: list[str] = []
    contradicted = False
    if claim.what and (regions or claim.count is not None):
        counted = _counted(claim.what, scene, meter)
        if counted is None:
            regions, wrong = _by_phrase(claim.what, regions, scene, meter)
        elif isinstance(counted, str):
            regions, wrong, contradicted = [], [f"“{claim.what}”: {counted}"], True
        else:
            wrong = [why for region in regions if (why := counted.unlike(region, claim.what))]
            regions = [region for region in regions if not counted.unlike(region, claim.what)]
            if claim.count is not None and (counted.open or claim.count != counted.number):
                wrong.append(f"{claim.count} × “{claim.what}”: counted again, {counted.said}")
                contradicted = True
    if claim.says and not _is_written(claim.says, regions, scene, meter):
        wrong.append(f"“{claim.says}” is not what is read there")
        regions, contradicted = [], True
    return regions, wrong, contradicted


@dataclass(frozen=True)
class _Counted:
    """What counting again has found.

    Attributes:
        found: the regions of the phrase.
        maybe: ids of those of which words of the phrase could not be judged.
        result: the number, or its bounds.
        words: the words that could not be judged.
    """

    found: Regions
    maybe: frozenset[str]
    result: Any
    words: tuple[str, ...]

    @property
    def open(self) -> bool:
        return isinstance(self.result, Open)

    @property
    def number(self) -> int:
        return len(self.found)

    @property
    def said(self) -> str:
        if self.open:
            return f"there are {self.result.at_least or 0} to {self.number}, for {said_not_judged(self.words)}"
        return f"there are {self.number}"

    def unlike(self, region: Region, what: str) -> str:
        """Why a region is not what the phrase says, or not known to be; "" if it is."""
        same = iou(self.found.boxes, np.array([region.box]))[:, 0] >= SAME_IOU if len(self.found) else np.zeros(0, bool)
        if not same.any():
            return f"{region.name}: it is not among “{what}”"
        if all(one in self.maybe for one in np.array(self.found.ids, dtype=object)[same]):
            return f"{region.name}: {said_not_judged(self.words)}"
        return ""


def _counted(what: str, scene: Any, meter: Meter) -> _Counted | str | None:
    """What the rules count for a phrase, why they cannot count it, or None if they have no plan."""
    plan = _counting(what)
    if plan is None:
        return None
    ref, step = plan.steps[-2].id, plan.steps[-2]
    run = Run(plan, scene, meter)
    for _ in run:
        pass
    result = run.results[ref]
    if run.stopped:
        raise BudgetExceeded(run.stopped)
    if isinstance(result, Failure):
        return result.reason
    of = next(step.inputs())[0]
    return _Counted(run.rests_on[ref], run.maybe.get(of, frozenset()), result, run.not_judged[ref])


def _counting(what: str) -> Plan | None:
    """The rules' plan that counts a phrase as its last step before the answer; None if they have none."""
    plan = RulePlanner().plan(f"How many {_bare(what)} are there?")
    if not isinstance(plan, Plan) or len(plan.steps) < 2:
        return None
    counting, answer = plan.steps[-2:]
    if answer.op != "answer" or not isinstance(counting, Count) or tuple(answer.of) != (counting.id,):
        return None
    return plan


def _bare(what: str) -> str:
    return _COUNTED.sub("", what) or what


def _not_in_results(claim: Claim, regions: Sequence[Region], results: Results, scene: Any) -> list[str]:
    """What of a claim no result bears out, one clause each."""
    wrong: list[str] = []
    words = () if results.own else _open_words(claim.what, results, scene)
    if words and (regions or claim.count or (claim.count == 0 and not results.gives(0))):
        wrong.append(f"“{claim.what}”: {said_not_judged(words)}")
    elif claim.count is not None and claim.count != len(regions) and not results.gives(claim.count):
        wrong.append(f"{claim.count} × “{claim.what}”: no result says so")
    if claim.says and not results.says(claim.says):
        wrong.append(f"“{claim.says}” stands in no result")
    return wrong


def _open_words(what: str, results: Results, scene: Any) -> tuple[str, ...]:
    """Words of a phrase that the model of a scene cannot judge; places among them are geometry's, and can be."""
    plan = _counting(what)
    if plan is None:  # what the words do there is not known; those that a result could not judge are open still
        return tuple(results.open_words(what))
    # A word that only finders have is open where they saw none: a result says so.
    unseen = set(results.open_words(what))
    narrower = (word for word in _open_in(plan, scene, alone=True) if word in unseen)
    return tuple(dict.fromkeys((*_open_in(plan, scene), *narrower)))


def open_in_question(question: str, scene: Any) -> tuple[str, ...]:
    """Words of a question that the model of a scene cannot judge, as far as the rules understand the question."""
    plan = RulePlanner().plan(question)
    return _open_in(plan, scene) if isinstance(plan, Plan) else ()


def _open_in(plan: Plan, scene: Any, alone: bool = False) -> tuple[str, ...]:
    """The words of a plan's phrases that the model of a scene cannot judge, with its finders or alone."""
    model = getattr(scene, "model", None)
    predictor = getattr(model, "predictor", scene)
    vocabulary, any_words = getattr(predictor, "vocabulary", None), getattr(predictor, "any_words", False)
    if alone:
        vocabulary, any_words = getattr(predictor, "own_names", vocabulary), False
    if vocabulary is None:
        return ()
    phrases = [step.phrase for step in plan.steps if isinstance(step, Find) and step.phrase]
    noun = phrases[0] if phrases else "thing"
    phrases += [f"{words} {noun}" for step in plan.steps if isinstance(step, Are) for words in step.words]
    name = getattr(model, "name", "the model")
    meant = (one for phrase in phrases for one in meanings(phrase, vocabulary, name, any_words=any_words))
    return tuple(dict.fromkeys(word for one in meant for word in one.not_judged))


def _by_phrase(what: str, regions: list[Region], scene: Any, meter: Meter) -> tuple[list[Region], list[str]]:
    """(regions that look like a phrase, why the others do not)."""
    found = grounded([what], scene, meter)[what]
    reasons = {region.id: unlike(region, what, found, scene) for region in regions}
    return [r for r in regions if not reasons[r.id]], [reason for reason in reasons.values() if reason]


def _is_written(says: str, regions: list[Region], scene: Any, meter: Meter) -> bool:
    """Whether a text is read in any of the regions, or in the picture where there are none; signs and case aside."""
    wanted = _letters(says)
    for region in regions or [None]:
        meter.model_call(round(region.area) if region else scene.width * scene.height)
        try:
            text = scene.read() if region is None else scene.read(region)
        except (ToolError, InputError):
            continue
        if wanted in _letters(str(text.text)):
            return True
    return False


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
