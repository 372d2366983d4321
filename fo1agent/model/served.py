"""`ServedPredictor`: the model as a scene sees it, whose words come from a vLLM that runs it.

vLLM is in this process (`served_here.py`) or behind an address (`served_there.py`); towers run where it is, so that
here nothing is computed. It writes words and tells how likely a token comes next, and from these follows all else: a
phrase is matched with regions by asking to detect it and weighing each `<regionN>` against the end of the list, as
`predictor.Predictor` does for a model without a match head. What one masked pass does there are requests side by side
here, which share the picture by vLLM's cache of prefixes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fo1agent.errors import InputError
from fo1agent.model.bases.chat import QWEN
from fo1agent.model.encoding import SceneEncoding
from fo1agent.model.predicting import LONGEST_PHRASE, BasePredictor, at_most
from fo1agent.model.prompting import ProcessingConfig, Prompting
from fo1agent.pictures.image import LoadedImage
from fo1agent.prompts import parse, render
from fo1agent.regions.regions import Regions

# Pictures are kept here as pixels alone; what vLLM keeps of them is bounded by its own settings.
CACHE_BYTES = 512 * 2**20
_NAMED = 32  # tokens of a category that is named before its regions are


@dataclass(frozen=True)
class Shown:
    """A picture of a prompt with its boxes [N, 4], xyxy pixels; it takes the place of a decoder's prefix."""

    image: LoadedImage
    boxes: np.ndarray

    @property
    def length(self) -> int:
        """Tokens that are kept here: none."""
        return 0

    @property
    def nbytes(self) -> int:
        """Bytes held, beside the picture."""
        return self.boxes.nbytes


@dataclass(frozen=True)
class Written:
    """What an engine wrote.

    Attributes:
        text: the words, with special tokens.
        ids: of which they were made, where the engine tells; words do not always give the same ids again.
    """

    text: str
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Asked:
    """One prompt.

    Attributes:
        shown: the pictures; regions are numbered through.
        text: what the user says.
        begun: how the answer begins.
        written: what of the answer stands before that, by the same engine.
    """

    shown: tuple[Shown, ...]
    text: str
    begun: str = ""
    written: Written = Written("")

    @property
    def answer(self) -> str:
        """What is there of the answer."""
        return self.written.text + self.begun


@dataclass(frozen=True)
class Said:
    """What the configuration of a served model says.

    Attributes:
        name: for people.
        fingerprint: of the weights, or of where they are.
        settings: of pictures and regions.
        vocabulary: names that the model knows; None for an open one.
        calibration, thresholds: as of `FO1Config`.
        elsewhere: whether a server has the weights, so that the fingerprint is of where they are.
    """

    name: str
    fingerprint: str
    settings: ProcessingConfig = field(default_factory=ProcessingConfig)
    vocabulary: Sequence[str] | None = None
    calibration: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    elsewhere: bool = False


class Engine(ABC):
    """A vLLM. Safe to share between threads: what several ask at once is computed together.

    What it does not answer is an `EngineError`; one behind an address is waited for as `exchange.until` says.
    """

    def ready(self) -> bool:
        """Whether it would answer, as far as is known without asking it much."""
        return True

    @abstractmethod
    def write(self, asked: Sequence[Asked], most: int, stop: str | None = None) -> list[Written]:
        """What follows each prompt, the likeliest token each time, up to the answer's end or `stop`, which is left out.

        Args:
            asked: the prompts.
            most: tokens of each.
            stop: a text at which to end, too.
        """

    @abstractmethod
    def weigh(self, asked: Sequence[Asked], tokens: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """The logarithm of the probability of each of a prompt's `tokens`, were it the next one."""


@dataclass(frozen=True)
class Question:
    """What is asked, which only the engine makes ids of."""

    text: str

    def __len__(self) -> int:
        """About how many tokens it has."""
        return -(-len(self.text) // 4)


class ServedProcessor(Prompting):
    """Words as they are, and how many regions are read.

    Args:
        settings: of pictures and regions.
    """

    chat = QWEN
    stop_id = -1  # the engine knows where an answer ends

    def __init__(self, settings: ProcessingConfig) -> None:
        self.settings = settings

    def question_ids(self, regions: Sequence[int], text: str) -> Question:
        """The question, with chat markers broken."""
        return Question(self.plain(text))

    def decode(self, text: str) -> str:
        """A reply up to its end, without outer blanks."""
        return self._spoken(text)

    def _id_of(self, token: str) -> int | None:
        return None

    def _text_ids(self, text: str) -> list[int]:
        raise _no_ids()

    def _array(self, ids: Sequence[int]) -> Any:
        raise _no_ids()


@dataclass
class Seen:
    """`ImageFeatures` of a picture that was looked at elsewhere.

    Attributes:
        image: the picture.
        aux_wh: the size at which it is seen.
    """

    image: LoadedImage
    aux_wh: tuple[int, int]

    @property
    def sizes(self) -> Seen:
        """Itself: it knows one size."""
        return self

    def tensors(self) -> list[np.ndarray]:
        """What is held: the pixels."""
        return [np.asarray(self.image.pixels)]


class ServedPredictor(BasePredictor):
    """One model, ready for pictures. Safe to share between threads.

    Args:
        engine: computes.
        said: of the model.

    Attributes:
        engine: as above.
        elsewhere: as of `Said`.
    """

    def __init__(self, engine: Engine, said: Said) -> None:
        self.engine, self.elsewhere = engine, said.elsewhere
        self.name, self.fingerprint, self.cache_bytes = said.name, said.fingerprint, CACHE_BYTES
        self.processor = ServedProcessor(said.settings)
        self._know(said.vocabulary, (), said.calibration, said.thresholds, None)

    def ready(self) -> bool:
        """Whether the engine would answer."""
        return self.engine.ready()

    # --- pictures ----------------------------------------------------------------------------------------------

    @property
    def proposes(self) -> bool:
        """Whether the model finds boxes by itself; vLLM only writes words."""
        return False

    def _encode(self, image: LoadedImage, proposals: Regions | None) -> SceneEncoding:
        assert proposals is not None  # `proposes` is False
        longest = max(image.width, image.height)
        factor = min(1.0, self.processor.settings.max_side / longest)
        seen = Seen(image, (round(image.width * factor), round(image.height * factor)))
        return self._shown(seen, proposals.boxes, proposals.scores, proposals.source)

    def _given(self, encoding: SceneEncoding, boxes: np.ndarray) -> SceneEncoding:
        return self._shown(encoding.features, boxes, np.ones(len(boxes)), "given")

    def _shown(self, seen: Any, boxes: np.ndarray, scores: np.ndarray, source: str) -> SceneEncoding:
        boxes, scores, note = self._kept(boxes, scores, source)
        nothing = np.zeros((len(boxes), 0))  # one for each region that is read
        encoding = SceneEncoding(boxes, scores, note, source, seen, nothing, nothing, None)
        return self._by_prompts(encoding, lambda places, _: (Shown(seen.image, boxes[places]), None))

    # --- phrases and regions -----------------------------------------------------------------------------------

    def _match(self, encodings: Sequence[SceneEncoding], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        asked, count = [], []
        for encoding, own in zip(encodings, phrases, strict=True):
            for phrase in own:
                plain = at_most(LONGEST_PHRASE, self.processor.question_ids([], phrase), phrase).text
                begun = f"<ground>{plain}</ground><objects>"
                asked.append(self._asked((encoding.prefix,), render("od", phrase), begun))
                count.append(encoding.read)
        rows = iter(self._named(asked, count))
        return [np.stack([next(rows) for _ in own]) for own in phrases]

    def _asked(self, shown: tuple[Shown, ...], text: str, begun: str = "") -> Asked:
        return Asked(shown, self.processor.question_ids([], text).text, begun)

    def _named(self, asked: Sequence[Asked], count: Sequence[int]) -> list[np.ndarray]:
        """Probability [N] of each prompt's regions as the next to be named, against the end of the list."""
        tokens = [[*(f"<region{k}>" for k in range(one)), "</objects>"] for one in count]
        return [self._probability(row[:-1] - row[-1]) for row in self.engine.weigh(asked, tokens)]

    def _probability(self, logits: np.ndarray) -> np.ndarray:
        scores = self.calibration.scale * logits.astype(np.float64) + self.calibration.bias
        return 1 / (1 + np.exp(-scores.clip(-500, 500)))

    def _match_without(
        self, encoding: SceneEncoding, phrases: Sequence[str], silenced: Sequence[Collection[str]]
    ) -> list[np.ndarray]:
        raise InputError(f"{self.name} in vLLM has no match head, so no terms of it can be silenced.")

    def _same_kinds(self, encodings: Sequence[SceneEncoding], indexes: Sequence[int]) -> list[np.ndarray]:
        if self.vocabulary is not None:
            return super()._same_kinds(encodings, indexes)
        pairs = zip(encodings, indexes, strict=True)
        read = [self._readable(encoding, render("visual_prompt_od", f"<region{index}>")) for encoding, index in pairs]
        questions = [self._asked((prompt.prefix,), text) for prompt, text, _ in read]
        # The model names the category itself; the regions are weighed where it would list them.
        names = self.engine.write(questions, _NAMED, "<objects>")
        listings = [
            replace(question, begun="<objects>", written=name) for question, name in zip(questions, names, strict=True)
        ]
        rows = self._named(listings, [prompt.read for prompt, _, _ in read])
        for k, (_, _, numbering) in enumerate(read):
            if numbering is not None:
                # Other prompts do not hold the example; their regions are judged by what it was called, or by nothing.
                groups = parse(f"{names[k].text}<objects></objects>", 0).groups
                label = groups[0].label if groups else ""
                whole = self.match(encodings[k], [label])[0] if label else np.zeros(len(encodings[k]))
                whole[numbering.numbers] = rows[k]
                rows[k] = whole
        return rows

    def _looks(self, encoding: SceneEncoding) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        nothing = encoding.region_tokens  # vLLM tells no states: regions of several pictures are compared by names
        return nothing, nothing, np.zeros(len(nothing))

    # --- words -------------------------------------------------------------------------------------------------

    def _prefix(self, encodings: Sequence[SceneEncoding]) -> tuple[Shown, ...]:
        return tuple(encoding.prefix for encoding in encodings)

    def _passes(self, lengths: Sequence[int], branches: Sequence[Sequence[Any]]) -> Iterator[list[tuple[int, slice]]]:
        """All in one: how many are computed together is the engine's to know."""
        if branches:
            yield [(number, slice(0, len(own))) for number, own in enumerate(branches)]

    def _write(self, prefixes: Sequence[Any], questions: Sequence[Sequence[Any]], max_new_tokens: int) -> list[str]:
        asked = [
            Asked(prefix if isinstance(prefix, tuple) else (prefix,), question.text)
            for prefix, own in zip(prefixes, questions, strict=True)
            for question in own
        ]
        return [one.text for one in self.engine.write(asked, max_new_tokens)]

    def reader(self) -> Callable[[list[int]], Any]:
        """Refused: vLLM writes whole answers.

        Raises:
            InputError: always.
        """
        raise InputError(
            f'{self.name} in vLLM cannot be held to a grammar token by token, as the planner "fo1" needs. Use another '
            'planner, such as "rules", or engine torch.'
        )


def _no_ids() -> InputError:
    return InputError("Of a model in vLLM there are no ids here: its words are written and read by vLLM.")
