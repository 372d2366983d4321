"""What a job asks of every picture, and the row that becomes of it.

`Worker.rows` opens pictures batch by batch and asks each batch in the passes of one. A picture that cannot be read or
answered is a row with its error; the others go on. Nothing is known here of shards, or of who else works.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypeVar, get_args

from fo1agent.agent.loop import Agent
from fo1agent.annotate.sources import Item, Reader, printable
from fo1agent.errors import FO1AgentError, InputError, of_one
from fo1agent.pictures.image import LoadedImage
from fo1agent.planners.base import NotUnderstood
from fo1agent.planners.rules import RulePlanner
from fo1agent.regions.ids import is_region_id, respelled
from fo1agent.regions.regions import Regions
from fo1agent.scene import Album, Model, Scene, batches
from fo1agent.segmenters.base import NO_SEGMENTER
from fo1agent.words.english import listed
from fo1agent.words.phrases import meanings

T = TypeVar("T")

Kind = Literal["detect", "count", "read", "describe", "ask"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Row = dict[str, Any]
"""A row of a shard; `shards.schema` lists its columns."""

# Pictures that are read and decoded while the model computes.
_AHEAD = 8
# Words that are named of very many.
_TOLD = 10
# Questions that are looked at beforehand, which takes some seconds.
_FORESEEN = 10_000


@dataclass(frozen=True)
class Task:
    """What is asked of every picture.

    Attributes:
        kind: `detect` finds what phrases name, `count` counts one, `read` reads text, `describe` describes, `ask`
            answers.
        words: the phrases, the phrase, or the question; for `ask` empty if every picture has its own.
        threshold: the least probability of `detect` and `count`, 0 to 1; None for the model's own.
        most: regions that are kept of a picture, the best.
        masks: of `detect` and `count`, whether each region has its mask. The model must have a segmenter.
    """

    kind: Kind
    words: tuple[str, ...] = ()
    threshold: float | None = None
    most: int = 100
    masks: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"There is no task {self.kind!r}. Choose one of {', '.join(KINDS)}.")
        wanted = {"detect": (1, None), "count": (1, 1), "ask": (0, 1)}.get(self.kind, (0, 0))
        if len(self.words) < wanted[0] or (wanted[1] is not None and len(self.words) > wanted[1]):
            told = {"detect": "phrases", "count": "one phrase", "ask": "one question"}.get(self.kind, "no words")
            raise InputError(f"{self.kind} takes {told}, got {len(self.words)}.")
        if any(not word.strip() for word in self.words):
            raise InputError(f"{self.kind}: a phrase is empty.")
        if self.masks and self.kind not in ("detect", "count"):
            raise InputError(f"{self.kind} makes no masks. A segmenter is for detect, count and ask.")


def asked(task: Task, items: Iterable[Item]) -> list[str]:
    """The questions of a job, each once, "" for pictures that have none; those of the first pictures, of very many."""
    if task.kind != "ask":
        return []
    questions = dict.fromkeys(_question(task, item) for item in items)
    return list(islice(questions, _FORESEEN))


def foreseen(model: Model, task: Task, questions: Sequence[str] | None = None) -> list[str]:
    """What will not be answered, told before a picture is opened; [] if nothing is known to be in the way.

    These are words that the model does not know, words that it cannot judge, and questions that are missing, cannot be
    understood, or ask for masks where nothing makes them. Whether a colour can be judged hangs on each thing, so
    nothing is said of colours. Nor is of ids of regions: each picture has its own.

    Args:
        model: that is asked.
        task: what of each picture.
        questions: of `ask`, as `asked` gives them; None for the one of the task.
    """
    phrases, told = task.words, list[str]()
    if task.kind == "ask":
        phrases, told = _planned(model, task.words if questions is None else questions)
    predictor: Any = model.predictor
    any_words = getattr(predictor, "any_words", False)
    nothing: list[str] = []
    parts: list[str] = []
    for phrase in phrases:
        if is_region_id(phrase) or respelled(phrase):
            continue
        meant = meanings(phrase, predictor.vocabulary, predictor.name, any_words=any_words)
        if not all(one.names for one in meant):
            nothing.append(f"“{phrase}”")
        else:
            words = (word for one in meant for word in one.not_judged)
            parts += [f"“{word}”" if word == phrase else f"“{word}” of “{phrase}”" for word in words]
    told += [f"{predictor.name} does not know {_some(nothing)}."] if nothing else []
    return told + ([f"{predictor.name} cannot judge {_some(parts)}."] if parts else [])


def _planned(model: Model, questions: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """The phrases that questions look for, and what is in the way of those that have none."""
    planner, steps = RulePlanner(), list[Any]()
    why: dict[str, list[str]] = {}
    for question in questions:
        plan = planner.plan(question) if question else NotUnderstood("Some pictures have no question")
        if isinstance(plan, NotUnderstood):
            why.setdefault(plan.reason, []).extend([f"“{question}”"] if question else [])
        else:
            steps += plan.steps
    told = [f"{reason}: {_some(which)}" if which else f"{reason}." for reason, which in why.items()]
    if model.segmenter is None and any(step.op == "segment" for step in steps):
        told.append(NO_SEGMENTER)
    return tuple(dict.fromkeys(step.phrase for step in steps if step.op == "find" and step.phrase)), told


def _question(task: Task, item: Item) -> str:
    return item.question or "".join(task.words)


def _some(words: Sequence[str]) -> str:
    """Ten of very many words, and how many more there are."""
    return listed([*words[:_TOLD], *([f"{len(words) - _TOLD} more"] if len(words) > _TOLD else [])])


@dataclass
class Worker:
    """A model that does a task.

    Attributes:
        model: the model.
        task: what is asked.
        read: opens the picture of an item.
    """

    model: Model
    task: Task
    read: Callable[[Item], LoadedImage] = field(default_factory=Reader)

    def rows(self, items: Sequence[Item], on_rows: Callable[[list[Row]], None] | None = None) -> list[Row]:
        """A row for each item, in order.

        Args:
            items: the pictures.
            on_rows: called with the rows of each batch as it is done.
        """
        rows: list[Row] = []
        for batch in batches(_ahead(items, self.read), lambda pair: self.model.open(_right(pair[1]))):
            pairs = [(item, scene) for (item, _), scene in batch]
            good = [(item, scene) for item, scene in pairs if not isinstance(scene, FO1AgentError)]
            found = iter(self._found(good))
            done = [
                _failed(item, None, scene) if isinstance(scene, FO1AgentError) else self._row(item, scene, next(found))
                for item, scene in pairs
            ]
            rows += done
            if on_rows:
                on_rows(done)
        return rows

    def _found(self, pairs: Sequence[tuple[Item, Scene]]) -> Sequence[Any]:
        """What is found in each open picture, or the error of ours that it ends with."""
        if self.task.kind == "ask":
            return self._answers(pairs)
        ask, scenes = _ASKED[self.task.kind], [scene for _, scene in pairs]
        try:
            return ask(self.task, Album(scenes))
        except FO1AgentError:  # of one of them: the others have their answers
            return [_or_error(lambda scene=scene: ask(self.task, Album([scene]))[0]) for scene in scenes]

    def _answers(self, pairs: Sequence[tuple[Item, Scene]]) -> Sequence[Any]:
        put = [(_question(self.task, item), scene) for item, scene in pairs]
        answers = iter(Agent(self.model).batch([(scene, question) for question, scene in put if question]))
        missing = InputError('There is no question. Name one for all, or give each picture its "question".')
        return [next(answers) if question else missing for question, _ in put]

    def _row(self, item: Item, scene: Scene, found: Any) -> Row:
        if isinstance(found, FO1AgentError):
            return _failed(item, scene, found)
        made = _ROWS[self.task.kind](found)
        kept = sorted(made.pop("regions"), key=lambda region: -region["score"])[: self.task.most]
        if self.task.masks and kept:
            masks = _or_error(lambda: _masks(scene, [region["id"] for region in kept]))
            if isinstance(masks, FO1AgentError):
                return _failed(item, scene, masks)
            kept = [{**region, "mask": masks.get(region["id"])} for region in kept]
        return {**_base(item, scene), "regions": kept, **made}


def _detected(found: dict[str, Regions]) -> Row:
    told = {phrase: _said(regions) for phrase, regions in found.items()}
    regions = [one for phrase, regions in found.items() for one in _regions(phrase, regions)]
    return {"regions": regions, "value": len(regions), "result": _json(told)}


def _counted(found: Any) -> Row:
    bounds = {"at_least": found.at_least, "at_most": found.at_most}
    told = {**bounds, "not_judged": list(found.not_judged), "by": list(found.by), "note": found.note}
    return {"regions": _regions(found.phrase, found.regions), "value": found.value, "result": _json(told)}


def _read(found: Any) -> Row:
    lines = [{"text": str(line.text), "box": list(line.box), "score": line.score} for line in found.lines]
    return {"regions": [], "text": str(found.text), "result": _json({"lines": lines})}


def _described(found: Any) -> Row:
    regions = _regions(None, found.regions)
    return {"regions": regions, "text": str(found.text), "result": _json({"source": found.source})}


def _answered(found: Any) -> Row:
    told = found.to_dict()
    kept = {name: told[name] for name in told if name not in ("question", "text", "regions", "steps")}
    value = found.value if type(found.value) is int else None
    row = {"regions": _regions(None, found.evidence), "text": str(found.text), "result": _json(kept)}
    return {**row, "question": found.question, "value": value}


_ASKED: dict[str, Callable[[Task, Album], Sequence[Any]]] = {
    "detect": lambda task, album: album.ground_many(task.words, threshold=task.threshold),
    "count": lambda task, album: album.count(task.words[0], threshold=task.threshold),
    "read": lambda task, album: [scene.read() for scene in album],
    "describe": lambda task, album: album.describe(),
}
_ROWS: dict[str, Callable[[Any], Row]] = {
    "detect": _detected,
    "count": _counted,
    "read": _read,
    "describe": _described,
    "ask": _answered,
}


def _regions(phrase: str | None, found: Regions) -> list[Row]:
    return [
        {
            "phrase": phrase,
            "id": one.name,
            "label": one.label,
            "score": float(one.score),
            "box": list(map(float, one.box)),
        }
        for one in found
    ]


def _masks(scene: Scene, names: Sequence[str]) -> dict[str, str]:
    """Name of a region → its mask in COCO's compressed runs; one that has none is left out."""
    found = scene.segment(list(dict.fromkeys(names)))
    return {found.regions.by_id(mask.region).name: mask.rle["counts"] for mask in found.masks}


def _said(found: Regions) -> dict[str, Any]:
    """What there is to say of a phrase besides its regions; what is not there is left out."""
    told = {"not_judged": list(found.not_judged), "note": found.note, "by": list(found.by)}
    return {"none_score": found.none_score, **{name: value for name, value in told.items() if value}}


def _base(item: Item, scene: Scene | None) -> Row:
    size = {"image": scene.id, "width": scene.width, "height": scene.height} if scene else {}
    return {
        "index": item.index,
        "picture": item.picture,
        "image_id": item.image_id,
        "question": item.question,
        "regions": [],
        **size,
    }


def _failed(item: Item, scene: Scene | None, error: FO1AgentError) -> Row:
    """The row of a picture that cannot be answered.

    Raises:
        EngineError: it is no fault of the picture: all that follow would fail, and their rows would stay so.
    """
    return {**_base(item, scene), "error": printable(str(of_one(error)))}


def _json(told: Any) -> str:
    return json.dumps(told, ensure_ascii=False, sort_keys=True)


def _or_error(work: Callable[[], T]) -> T | FO1AgentError:
    try:
        return work()
    except FO1AgentError as exc:
        return exc


def _right(read: T | FO1AgentError) -> T:
    if isinstance(read, FO1AgentError):
        raise read
    return read


def _ahead(items: Iterable[Item], read: Callable[[Item], T]) -> Iterator[tuple[Item, T | FO1AgentError]]:
    """Items with their pictures, in order, some read before they are asked for."""
    waiting: deque[tuple[Item, Future[T | FO1AgentError]]] = deque()
    with ThreadPoolExecutor(2) as pool:
        for item in items:
            waiting.append((item, pool.submit(_or_error, lambda item=item: read(item))))
            if len(waiting) > _AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
                del future
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
