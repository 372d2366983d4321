"""`Predictor`: the model as a scene sees it. Numpy in, numpy out, boxes in pixels of the original picture.

A picture is encoded once; phrases, questions and look-alikes then cost only their own words. A model with a match head
scores (phrase, region) pairs directly. A model without one, such as the public checkpoint, is asked to detect the
phrase, and the logit of each `<regionN>` against that of `</objects>` at the point where it would name a region is the
score. Either way one pass serves many phrases, and the score does not depend on decoding order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fo1agent.errors import InputError
from fo1agent.model.encoding import EncodingCache, SceneEncoding, encoding_key
from fo1agent.model.finding import find_folder, fingerprint
from fo1agent.model.fo1 import FO1, ImageFeatures
from fo1agent.model.generation import greedy, greedy_many
from fo1agent.model.lesson import OWN_LEAST, either, own_boxes
from fo1agent.model.processing import FO1Processor, plain
from fo1agent.model.sequence import Prefix, Sample
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.prompts import render
from fo1agent.regions.regions import Regions, check_boxes

CACHE_BYTES = 256 * 2**20
THRESHOLDS = {"ground": 0.25, "count": 0.25, "exists": 0.15}
_TOKENS_AT_ONCE = 2048  # of phrases in one pass: bounds the mask
_LONGEST_PHRASE, _LONGEST_QUESTION = 256, 4096  # tokens
_PHRASES_KEPT = 4096  # per picture
_MENTION = re.compile(r"<region(\d+)>")


@dataclass(frozen=True)
class Calibration:
    """What makes a probability of a raw score: sigmoid(scale * score + bias)."""

    scale: float = 1.0
    bias: float = 0.0


@dataclass
class Predictor:
    """One model, ready for pictures. Safe to share between threads.

    Attributes:
        model: in eval mode.
        processor: the model's.
        name: for people: `fo1-nano`, the hub name's last part, or the folder's name.
        fingerprint: hash of the weights, part of every cache key.
        cache_bytes: bound on kept encodings.
        vocabulary: names that the model knows, taught ones last; None for an open one.
        taught: those of them that lessons alone know: regions are named by them, in scores but not in sentences.
    """

    model: FO1
    processor: FO1Processor
    name: str = "fo1"
    fingerprint: str = ""
    cache_bytes: int = CACHE_BYTES
    cache: EncodingCache = field(init=False, repr=False)

    def __post_init__(self) -> None:
        config = self.model.config
        self.model.eval()
        self.cache = EncodingCache(self.cache_bytes)
        self.calibration = Calibration(**config.calibration)
        taught = [name for lesson in self.model.lessons for name in lesson.names]
        own = config.vocabulary
        self.vocabulary: tuple[str, ...] | None = None if own is None else tuple(dict.fromkeys([*own, *taught]))
        self.taught: frozenset[str] = frozenset(taught).difference(own or ())
        self.thresholds: dict[str, float] = {**THRESHOLDS, **config.thresholds}
        self.max_regions: int = self.processor.settings.max_regions
        eos = config.get_text_config().eos_token_id
        others = eos if isinstance(eos, list) else [] if eos is None else [eos]
        self.stop_ids = frozenset([self.processor.stop_id, *others])

    # --- pictures ----------------------------------------------------------------------------------------------

    def encode(self, image: LoadedImage | Image.Image, proposals: Regions | None = None) -> SceneEncoding:
        """Run the towers once, and read picture and regions.

        Args:
            image: the picture.
            proposals: boxes to look at, at most `max_regions` of which are kept, best first; the encoding's note says
                so. None: the model proposes its own.

        Raises:
            InputError: no proposals are given and the model cannot make any.
        """
        loaded = image if isinstance(image, LoadedImage) else load_image(image)
        if proposals is None and not self.proposes:
            raise InputError(f"{self.name} makes no proposals of its own. Pass boxes, or load it with a proposer.")
        boxes, scores = (None, None) if proposals is None else (proposals.boxes, proposals.scores)
        key = encoding_key(loaded.sha256, boxes, scores, self.fingerprint)
        return self.cache.get_or_make(key, lambda: self._encode(loaded, proposals))

    def with_boxes(self, encoding: SceneEncoding, boxes: Any) -> SceneEncoding:
        """The same picture with other boxes [M, 4], drawn by hand: no tower runs again. Their objectness is 1."""
        checked = check_boxes(boxes)
        return self._teach(self._read(encoding.features, checked, np.ones(len(checked)), "given"))

    @property
    def proposes(self) -> bool:
        """Whether the model finds boxes by itself."""
        return self.model.proposes

    @torch.inference_mode()
    def _encode(self, image: LoadedImage, proposals: Regions | None) -> SceneEncoding:
        features = self.model.encode_image(self.processor.image(image.pixels))
        if proposals is None:
            boxes, scores = self.model.propose(features, self.max_regions)
            encoding = self._read(features, boxes.cpu().double().numpy(), scores.cpu().double().numpy(), "fo1")
            return self._teach(encoding, own=True)
        return self._teach(self._read(features, proposals.boxes, proposals.scores, proposals.source))

    @torch.inference_mode()
    def _read(self, features: ImageFeatures, boxes: np.ndarray, scores: np.ndarray, source: str) -> SceneEncoding:
        kept, note = self.processor.keep_best(scores)
        boxes, scores = boxes[kept], scores[kept]
        vectors, tokens = self.model.encode_regions(features, torch.from_numpy(boxes))
        sample = Sample(self.processor.prefix_ids([len(boxes)]), [features.image_tokens], [features.grid_hw], tokens)
        prefix = self.model.prefill(sample)
        keys = None
        if self.model.match_head is not None:
            fit = None if self.model.iou_head is None else self.model.iou_head(tokens)
            evidence = vectors[:, self.model.region_encoder.pooled_size :]
            keys = self.model.match_head.keys(prefix.region_states, tokens, evidence, fit)
        return SceneEncoding(boxes, scores, note, source, features, vectors, tokens, prefix, keys)

    @torch.inference_mode()
    def _teach(self, encoding: SceneEncoding, own: bool = False) -> SceneEncoding:
        """Add what the lessons say of the boxes; with `own`, after the boxes that only they find."""
        if not len(self.model.lessons):
            return encoding
        features, boxes, objectness = encoding.features, encoding.boxes, encoding.objectness
        places, vectors = self.model.placed(features.sizes.to_aux(boxes)), encoding.region_vectors
        found = [lesson.find(features.aux.maps, features.aux.size_wh) for lesson in self.model.lessons]
        for lesson, one in zip(self.model.lessons, found, strict=True) if own else ():
            more, scores = own_boxes(one, places)
            pixels = self.model.placed(features.sizes.from_aux(more.cpu().numpy()))
            read = self.model.region_vectors(features, pixels)
            likely = lesson(one, more, read).sigmoid().amax(dim=0) >= OWN_LEAST
            boxes = np.concatenate([boxes, pixels[likely].cpu().double().numpy()])
            objectness = np.concatenate([objectness, scores[likely].cpu().double().numpy()])
            places, vectors = torch.cat([places, more[likely]]), torch.cat([vectors, read[likely]])
        taught: dict[str, np.ndarray] = {}
        for lesson, one in zip(self.model.lessons, found, strict=True):
            rows = lesson(one, places, vectors).sigmoid().cpu().double().numpy()
            for name, row in zip(lesson.names, rows, strict=True):
                taught[name] = either(row, taught[name]) if name in taught else row
        return replace(encoding, boxes=boxes, objectness=objectness, taught=taught)

    # --- phrases and regions -----------------------------------------------------------------------------------

    def match(self, encoding: SceneEncoding, phrases: Sequence[str]) -> np.ndarray:
        """Probability that region n is what phrase p says, [P, N] float64; phrases asked before cost nothing.

        Raises:
            InputError: a phrase is longer than any phrase is.
        """
        known = self.recalled(encoding, phrases)
        if known is not None:
            return known
        rows = {phrase: row for phrase in phrases if (row := self._recalled(encoding, phrase)) is not None}
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in rows]
        if new:
            found = dict(zip(new, self._with_taught(encoding, new, self._match(encoding, new)), strict=True))
            if len(encoding.matched) > _PHRASES_KEPT:
                encoding.matched.clear()
            encoding.matched.update(found)
            rows |= found
        return np.stack([rows[phrase] for phrase in phrases])

    def recalled(self, encoding: SceneEncoding, phrases: Sequence[str]) -> np.ndarray | None:
        """What `match` gives, if that needs no pass of the model; else None."""
        if not len(encoding) or not phrases:
            return np.zeros((len(phrases), len(encoding)))
        rows = [self._recalled(encoding, phrase) for phrase in phrases]
        known = [row for row in rows if row is not None]
        return np.stack(known) if len(known) == len(rows) else None

    def _recalled(self, encoding: SceneEncoding, phrase: str) -> np.ndarray | None:
        # What only lessons know never goes through the model, not even beside other phrases: in a batch of another
        # shape their last bits would be others.
        return (encoding.taught if phrase in self.taught else encoding.matched).get(phrase)

    @torch.inference_mode()
    def match_without(
        self, encoding: SceneEncoding, phrases: Sequence[str], silenced: Sequence[Collection[str]]
    ) -> list[np.ndarray]:
        """`match` by some of the match head's terms alone, to measure what the others add.

        Args:
            encoding, phrases: as for `match`; the phrases are read once.
            silenced: for each result the terms (`MatchHead.TERMS`) whose weight is taken for zero. What lessons say has
                no such terms, and stays.

        Raises:
            InputError: the model has no match head.
        """
        head = self.model.match_head
        if head is None:
            raise InputError(f"{self.name} has no match head, so no terms of it can be silenced.")
        if not encoding.read or not phrases:
            return [self._with_taught(encoding, phrases, np.zeros((len(phrases), encoding.read)))] * len(silenced)
        states = self._states(encoding.prefix, [self.processor.phrase_ids(phrase) for phrase in phrases])
        results = []
        for terms in silenced:
            kept = head.weights.new_tensor([float(term not in terms) for term in head.TERMS])
            logits = torch.func.functional_call(head, {"weights": head.weights * kept}, (states, encoding.match_keys))
            results.append(self._with_taught(encoding, phrases, self._probability(logits)))
        return results

    def labels(self, encoding: SceneEncoding) -> tuple[list[str | None], np.ndarray]:
        """Best name of each region and its probability [N]; for an open model no names, and the objectness."""
        if self.vocabulary is None or not len(encoding):
            return [None] * len(encoding), encoding.objectness.copy()
        probability = self.match(encoding, self.vocabulary)
        return [self.vocabulary[k] for k in probability.argmax(axis=0)], probability.max(axis=0)

    def similar(self, encoding: SceneEncoding, index: int) -> np.ndarray:
        """Probability that each region is of the same category as region `index`, [N].

        Raises:
            InputError: there is no such region.
        """
        if not 0 <= index < len(encoding):
            raise InputError(f"No region {index}; the picture has {len(encoding)}.")
        if self.vocabulary is not None:
            probability = self.match(encoding, self.vocabulary)
            # Squared, the likely names of the example count, the many unlikely ones do not.
            belief = probability[:, index] ** 2
            same = belief @ probability / max(float(belief.sum()), 1e-12)
        else:
            question = self.processor.question_ids([len(encoding)], render("visual_prompt_od", f"<region{index}>"))
            opened = self.processor.token_id("<objects>")
            # The model names the category itself; the regions are read where it would list them.
            said = greedy(self.model, encoding.prefix, question, self.stop_ids | {opened}, max_new_tokens=32).ids
            said = said[said != opened]
            said = said[~torch.isin(said, torch.tensor(sorted(self.stop_ids)))]
            same = self._name_regions(encoding, [torch.cat([question, said, torch.tensor([opened])])])[0]
        same[index] = 1.0
        return same

    def _with_taught(self, encoding: SceneEncoding, phrases: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """What the model itself says [P, R] together with what lessons say of taught names, [P, N].

        A name that the model had before is found where either finds it; phrases that are not taught name none of the
        boxes that only lessons found.
        """
        if not encoding.taught:
            return rows
        whole = np.zeros((len(phrases), len(encoding)))
        for row, phrase, own in zip(whole, phrases, rows, strict=True):
            if phrase not in self.taught:
                row[: encoding.read] = own
            if phrase in encoding.taught:
                row[:] = either(row, encoding.taught[phrase])
        return whole

    @torch.inference_mode()
    def _match(self, encoding: SceneEncoding, phrases: Sequence[str]) -> np.ndarray:
        """What the model itself says, [P, R]."""
        if not encoding.read:
            return np.zeros((len(phrases), 0))
        head = self.model.match_head
        asked = [_at_most(_LONGEST_PHRASE, self.processor.phrase_ids(phrase), phrase) for phrase in phrases]
        if head is None:
            listed = [f"<ground>{plain(phrase)}</ground><objects>" for phrase in phrases]
            questions = [self.processor.question_ids([encoding.read], render("od", phrase)) for phrase in phrases]
            answers = [self.processor.text_ids(text) for text in listed]
            return self._name_regions(encoding, [torch.cat(pair) for pair in zip(questions, answers, strict=True)])
        states = self._states(encoding.prefix, asked)
        return self._probability(head(states, encoding.match_keys))

    @torch.inference_mode()
    def _name_regions(self, encoding: SceneEncoding, branches: Sequence[Tensor]) -> np.ndarray:
        """Probability of each region at the end of each branch, against the end of the list, [P, N]."""
        states = self._states(encoding.prefix, branches)
        regions = self.processor.region_ids(encoding.read)
        rows = self.model.base.lm_head.weight[[*regions, self.processor.token_id("</objects>")]]
        logits = states @ rows.T
        return self._probability(logits[:, :-1] - logits[:, -1:])

    def _states(self, prefix: Prefix, branches: Sequence[Tensor]) -> Tensor:
        """`phrase_states`, so many branches at once that the mask stays small."""
        return torch.cat([self.model.phrase_states(prefix, batch) for batch in _batches(branches)])

    def _probability(self, logits: Tensor) -> np.ndarray:
        scores = self.calibration.scale * logits.float() + self.calibration.bias
        return torch.sigmoid(scores).cpu().double().numpy()

    # --- words -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def generate(self, about: SceneEncoding | Sequence[SceneEncoding], text: str, max_new_tokens: int = 256) -> str:
        """The model's raw reply to a question, for `prompts.parse`.

        Args:
            about: one picture, whose prefix is reused; several, whose regions are numbered through in their order; or
                none (`[]`), for words alone.
            text: the question; `<regionN>` in it refers to regions.
            max_new_tokens: of the reply.

        Raises:
            InputError: the question is too long.
        """
        encodings = [about] if isinstance(about, SceneEncoding) else list(about)
        if len(encodings) == 1:
            encodings[0], text = self._readable(encodings[0], text)
        counts = [encoding.read for encoding in encodings]
        question = _at_most(_LONGEST_QUESTION, self.processor.question_ids(counts, text), text)
        if not encodings:
            prefix = Prefix.empty(self.model.config.hidden_size)
        elif len(encodings) == 1:
            prefix = encodings[0].prefix
        else:
            prefix = self.model.prefill(
                Sample(
                    self.processor.prefix_ids(counts),
                    [e.features.image_tokens for e in encodings],
                    [e.features.grid_hw for e in encodings],
                    torch.cat([e.region_tokens for e in encodings]),
                )
            )
        reply = greedy(self.model, prefix, question, self.stop_ids, max_new_tokens)
        return self.processor.decode(reply.ids)

    def _readable(self, encoding: SceneEncoding, text: str) -> tuple[SceneEncoding, str]:
        """An encoding and a question about it whose regions the language model has all read.

        Boxes that lessons found it has not; those that the question speaks of take the places of the last boxes.
        """
        asked = _unread(encoding, text)
        if not asked:
            return encoding, text
        kept = min(encoding.read, self.max_regions - len(asked))
        if kept < 0:
            raise InputError(f"The question speaks of {len(asked)} regions; {self.name} reads {self.max_regions}.")
        other = self.with_boxes(encoding, np.concatenate([encoding.boxes[:kept], encoding.boxes[asked]]))
        places = {k: kept + place for place, k in enumerate(asked)}
        return other, _MENTION.sub(lambda found: f"<region{places.get(int(found[1]), int(found[1]))}>", text)

    @torch.inference_mode()
    def generate_many(self, encoding: SceneEncoding, texts: Sequence[str], max_new_tokens: int = 256) -> list[str]:
        """`generate` for many questions about one picture, decoded together.

        Raises:
            InputError: a question is too long.
        """
        if any(_unread(encoding, text) for text in texts):
            return [self.generate(encoding, text, max_new_tokens) for text in texts]
        asked = [self.processor.question_ids([encoding.read], text) for text in texts]
        asked = [_at_most(_LONGEST_QUESTION, ids, text) for ids, text in zip(asked, texts, strict=True)]
        replies = [
            reply
            for batch in _batches(asked)
            for reply in greedy_many(self.model, encoding.prefix, batch, self.stop_ids, max_new_tokens)
        ]
        return [self.processor.decode(reply.ids) for reply in replies]


def _unread(encoding: SceneEncoding, text: str) -> list[int]:
    """The regions that a text mentions and the language model has not read, each once, in order."""
    return sorted({k for number in _MENTION.findall(text) if encoding.read <= (k := int(number)) < len(encoding)})


def _batches(branches: Sequence[Tensor]) -> list[list[Tensor]]:
    """The branches in order, so many together that a pass over them keeps a small mask."""
    batches: list[list[Tensor]] = [[]]
    for branch in branches:
        if batches[-1] and sum(map(len, batches[-1])) + len(branch) > _TOKENS_AT_ONCE:
            batches.append([])
        batches[-1].append(branch)
    return batches


def _at_most(limit: int, ids: Tensor, text: str) -> Tensor:
    """The ids, if they are no more than `limit`."""
    if len(ids) > limit:
        raise InputError(f"“{text[:40]}…” is {len(ids)} tokens long; at most {limit} are read.")
    return ids


# --- loading -----------------------------------------------------------------------------------------------------


def load_predictor(
    name_or_folder: str | Path | None = None, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Predictor:
    """A predictor from the packaged fo1-nano (None), a local folder, or a Hugging Face hub name.

    Args:
        name_or_folder: a folder of ours or in the public layout; an existing folder wins over a hub name.
        device: where the model runs.
        dtype: of the weights; None is float32 on the CPU and what is stored elsewhere.

    Raises:
        CheckpointError: nothing there, or it does not load; the message says why.
    """
    folder, name = find_folder(name_or_folder)
    processor = FO1Processor.from_folder(folder)
    return Predictor(FO1.from_pretrained(folder, dtype, device), processor, name, fingerprint(folder))
