"""A second look at the regions that an answer rests on: are they what they were found as?

It uses the same model as the tools, so it finds what an answer made up or mixed up, not what the model sees wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fo1agent.errors import BudgetExceeded
from fo1agent.regions.boxes import iou
from fo1agent.regions.regions import Region, Regions
from fo1agent.runs.answer import Answer
from fo1agent.runs.budget import Meter
from fo1agent.words.english import listed

SAME_IOU = 0.5
"""From this overlap on, a region is the one that was found again."""


def verified(answer: Answer, scene: Any, meter: Meter) -> Answer:
    """The answer after a second look at its evidence: regions that are not what they were found as are taken out and
    named, and where there was evidence and none is left, it is an abstention."""
    try:
        kept, wrong = regrounded(answer.evidence, scene, meter)
    except BudgetExceeded as exc:
        return replace(answer, notes=(*answer.notes, f"The evidence was not looked at again: {exc}."))
    if not wrong:
        return answer
    dropped = [region for region in answer.evidence if region not in kept]
    answer = replace(
        answer,
        evidence=Regions.from_list(kept),
        candidates=Regions.from_list([*answer.candidates, *dropped]),
        unsupported=tuple(wrong),
    )
    if kept:
        return replace(answer, text=f"{answer.text} (Not borne out: {'; '.join(wrong)}.)")
    reason = "; ".join(wrong)
    return replace(answer, text=f"I can't tell: {reason}.", value=None, abstained=True, reason=reason)


def regrounded(evidence: Regions, scene: Any, meter: Meter) -> tuple[list[Region], list[str]]:
    """Look again at what a plan's answer rests on.

    Returns:
        (the regions that are what they were found as, from the probability on from which things count as existing;
        why the others are not). Regions without a label cannot be looked up and are kept.

    Raises:
        BudgetExceeded: there is no pass left for it.
    """
    kept: list[Region] = []
    wrong: list[str] = []
    labels = list(dict.fromkeys(region.label for region in evidence if region.label))
    found = grounded(labels, scene, meter)
    for region in evidence:
        reason = unlike(region, region.label, found[region.label], scene) if region.label else ""
        if reason:
            wrong.append(reason)
        else:
            kept.append(region)
    return kept, wrong


def grounded(phrases: list[str], scene: Any, meter: Meter) -> Mapping[str, Regions]:
    if not phrases:
        return {}
    meter.model_call()
    return scene.ground_many(phrases, threshold=0.0)


def unlike(region: Region, phrase: str | None, found: Regions, scene: Any) -> str:
    """Why a region is not what a phrase says; "" if it is."""
    if not len(found) and found.note:
        return f"{region.name}: {found.note.rstrip('.')}"
    if found.not_judged and len(found):
        return f"{region.name}: {said_not_judged(found.not_judged)}"
    overlaps = iou(found.boxes, np.array([region.box]))[:, 0] if len(found) else np.zeros(0)
    best = float(found.scores[overlaps >= SAME_IOU].max(initial=0.0))
    if best >= scene.thresholds["exists"]:
        return ""
    return f"{region.name} looks like “{phrase}” with a probability of only {best:.2f}"


def said_not_judged(words: Sequence[str]) -> str:
    return f"{listed([f'“{word}”' for word in words])} could not be judged"
