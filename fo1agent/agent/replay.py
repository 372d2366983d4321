"""Runs a trace again without the language model that planned it: the same plan, on the same picture.

It runs only plans and tools, both of which are closed languages; a trace holds no code. Of the files that a trace names
only the picture is opened, and it is only used if its hash is that of the trace.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import takewhile
from typing import Any

import numpy as np

from fo1agent.agent.stepping import failed_step, run_tool
from fo1agent.errors import DataError, InputError
from fo1agent.pictures.image import ImageSource, LoadedImage, load_image
from fo1agent.regions.ids import numbered
from fo1agent.regions.regions import Regions
from fo1agent.runs.answer import Answer
from fo1agent.runs.budget import Budget, Meter
from fo1agent.runs.events import AnswerEvent, Event, PlanEvent
from fo1agent.runs.plan_run import Run
from fo1agent.runs.second_look import verified
from fo1agent.runs.step import StepEnd, StepRecord, StepStart
from fo1agent.runs.wording import conclude
from fo1agent.scene import Model, Scene
from fo1agent.tools.base import Tool
from fo1agent.tools.registry import registry
from fo1agent.traces.lines import ImagePart
from fo1agent.traces.store import Memory, Trace
from fo1agent.traces.watch import begin


def picture(trace: Trace, image: ImageSource = None, *, other_image: bool = False) -> LoadedImage:
    """The picture of a trace.

    Args:
        trace: the trace of the picture.
        image: the picture, as for `load_image`; None for the file that the trace names. Addresses in a trace are not
            fetched, because somebody else may have written it.
        other_image: whether it may be another picture than that of the trace.

    Raises:
        ImageError: it cannot be opened.
        InputError: the trace names no file that is here and no image is given, or it is another picture.
    """
    recorded = trace.run.image
    if image is None:
        if not os.path.isfile(recorded.source):
            raise InputError(
                f"The picture of {trace.name} is not at hand; it came from: {recorded.source}. Pass it as image, at a "
                "shell with --image."
            )
        image = recorded.source
    loaded = load_image(image)
    if not other_image and not _is_recorded(trace, loaded):
        this, wanted = _apart(loaded, recorded)
        raise InputError(
            f"{loaded.source} is not the picture of {trace.name}: it is {this}, the recorded one {wanted}. "
            "Pass the same picture, or other_image to try another, at a shell --other-image."
        )
    return loaded


def open_picture(
    trace: Trace, model: Model, image: ImageSource = None, *, other_image: bool = False, own_boxes: bool = False
) -> Scene:
    """Open the picture of a trace, with the boxes that it had.

    Args:
        trace: whose picture it is.
        model: opens it.
        image: as for `picture`.
        other_image: as for `picture`.
        own_boxes: use the boxes that `model` proposes, even if those of the trace were given or came from a detector.

    Raises:
        ImageError, InputError: as `picture`.
    """
    loaded = picture(trace, image, other_image=other_image)
    boxes = trace.run.regions
    if boxes is None or boxes.boxes is None or own_boxes or not _is_recorded(trace, loaded):
        return model.open(loaded)
    names = numbered(loaded.id, range(len(boxes.boxes)))
    corners, scores = np.array(boxes.boxes, dtype=np.float64), np.array(boxes.scores)
    return model.open(loaded, boxes=Regions(corners, scores, (None,) * len(names), names, boxes.source))


def _apart(loaded: LoadedImage, recorded: ImagePart) -> tuple[str, str]:
    """The ids of two pictures, as long as it takes to tell them apart."""
    if recorded.sha256 is None:
        return loaded.id, "of no known content"
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(loaded.sha256, recorded.sha256, strict=True))
    digits = max(8, len(list(alike)) + 1)
    return f"img_{loaded.sha256[:digits]}", f"img_{recorded.sha256[:digits]}"


def _is_recorded(trace: Trace, loaded: LoadedImage) -> bool:
    return trace.run.image.sha256 == loaded.sha256


def replay(trace: Trace, scene: Any, tools: Mapping[str, Tool] | None = None) -> Trace:
    """Run the steps of a trace on a scene.

    Args:
        trace: the trace. Its plans are run whole even if it was cut off.
        scene: its picture, see `open_picture`.
        tools: name → tool, for a trace in which a chat model called tools or planned with them; None for all of
            fo1agent's and those that installed packages publish.

    Returns:
        A trace of this run, to be compared with the first. It has no answer if a chat model wrote the first one's.
    """
    budget = _budget(trace)
    memory = Memory()
    watch = begin(trace.run.question, trace.run.planner, budget, memory, trace.run.verify)
    scene = watch.scene(scene)
    # A slow machine is no difference.
    meter = Meter(replace(budget, seconds=max(budget.seconds, 3600.0)))
    for _ in watch.events(scene, _events(trace, scene, meter, registry() if tools is None else tools)):
        pass
    return memory.trace("now")


def _events(trace: Trace, scene: Any, meter: Meter, tools: Mapping[str, Tool]) -> Iterator[Event]:
    """What `Agent` tells of a run, without its planner."""
    called = trace.plans[0].after if trace.plans else len(trace.steps)
    for number, step in enumerate(trace.steps[:called], 1):
        yield StepStart(number, step.id, step.tool, step.args)
        yield StepEnd(number, _called(step, scene, tools))
    answer: Answer | None = None
    records: list[StepRecord] = []
    for revision, recorded in enumerate(trace.plans):
        yield PlanEvent(recorded.planner, recorded.plan, revision)
        run = Run(recorded.plan, scene, meter, tools)
        own: list[StepRecord] = []
        for event in run.events(after=len(records)):
            yield event
            if isinstance(event, StepEnd):
                own.append(event.record)
        records += own
        better = conclude(run, trace.run.question, tuple(own), None)
        if answer is None or answer.abstained or not better.abstained:
            answer = better
    if answer is not None:
        answer = verified(answer, scene, meter) if trace.run.verify and not answer.abstained else answer
        yield AnswerEvent(replace(answer, trace=tuple(records), seconds=meter.seconds))


def _called(step: StepRecord, scene: Any, tools: Mapping[str, Tool]) -> StepRecord:
    """A tool call of a language model, made once more."""
    if step.tool not in tools:
        return failed_step(step.id, step.tool, step.args, f"there is no tool {step.tool!r} here", "error")
    _, record = run_tool(tools[step.tool], scene, step.id, step.args)
    return record


def _budget(trace: Trace) -> Budget:
    """The recorded limits."""
    known = {limit.name: trace.run.budget[limit.name] for limit in fields(Budget) if limit.name in trace.run.budget}
    try:
        return Budget(**known)  # pyright: ignore[reportArgumentType]
    except InputError as exc:
        raise DataError(f"{trace.name}, line 1: {exc}") from exc
