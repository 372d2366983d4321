"""`Predictor`: the model as a scene sees it. Numpy in, numpy out, boxes in pixels of the original picture.

A picture is encoded once; phrases, questions and look-alikes then cost only their own words. A model with a match head
scores (phrase, region) pairs directly. A model without one, such as the public checkpoint, is asked to detect the
phrase, and the logit of each `<regionN>` against that of `</objects>` at the point where it would name a region is the
score. Either way one pass serves many phrases, and the score does not depend on decoding order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fo1agent.errors import InputError
from fo1agent.model import branches as branching
from fo1agent.model import running
from fo1agent.model.encoding import EncodingCache, SceneEncoding
from fo1agent.model.finding import find_folder, fingerprint
from fo1agent.model.fo1 import FO1, ImageFeatures
from fo1agent.model.generation import greedy, greedy_behind
from fo1agent.model.likeness import Likeness
from fo1agent.model.predicting import CACHE_BYTES, LONGEST_PHRASE, BasePredictor, at_most, either
from fo1agent.model.prefix import Prefix
from fo1agent.model.processing import FO1Processor
from fo1agent.model.sequence import Sample
from fo1agent.model.tensors import dtype_name
from fo1agent.pictures.image import LoadedImage
from fo1agent.prompts import parse, render
from fo1agent.regions.regions import Regions

if TYPE_CHECKING:
    from fo1agent.model.heads import RegionKeys

log = logging.getLogger(__name__)


@dataclass
class Predictor(BasePredictor):
    """One model as torch runs it; what it does is told at `BasePredictor`.

    Attributes:
        model: in eval mode.
    """

    model: FO1
    processor: FO1Processor
    name: str = "fo1"
    fingerprint: str = ""
    cache_bytes: int = CACHE_BYTES
    likeness: Likeness | None = None
    cache: EncodingCache = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.model.eval()
        taught = [name for lesson in self.model.lessons for name in lesson.names]
        config = self.model.config
        eos = config.get_text_config().eos_token_id
        self._know(config.vocabulary, taught, config.calibration, config.thresholds, eos)

    # --- pictures ----------------------------------------------------------------------------------------------

    def _given(self, encoding: SceneEncoding, boxes: np.ndarray) -> SceneEncoding:
        return self._teach(self._read(encoding.features, boxes, np.ones(len(boxes)), "given", encoding.prefix))

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
    def _read(
        self,
        features: ImageFeatures,
        boxes: np.ndarray,
        scores: np.ndarray,
        source: str,
        known: Prefix | None = None,
    ) -> SceneEncoding:
        boxes, scores, note = self._kept(boxes, scores, source)
        vectors, tokens = self.model.encode_regions(features, torch.from_numpy(boxes))

        def read(places: np.ndarray, known: Prefix | None) -> tuple[Prefix, RegionKeys | None]:
            return self._prompted(features, vectors[places], tokens[places], known)

        return self._by_prompts(SceneEncoding(boxes, scores, note, source, features, vectors, tokens, known), read)

    def _prompted(
        self, features: ImageFeatures, vectors: Tensor, tokens: Tensor, known: Prefix | None
    ) -> tuple[Prefix, RegionKeys | None]:
        """The beginning of a prompt about these regions, and what phrases are compared with."""
        sample = Sample(self.processor.prefix_ids([len(tokens)]), [features.picture], tokens)
        prefix = self.model.prefill(sample, known)
        if self.model.match_head is None:
            return prefix, None
        fit = None if self.model.iou_head is None else self.model.iou_head(tokens)
        evidence = vectors[:, self.model.region_encoder.pooled_size :]
        return prefix, self.model.match_head.keys(prefix.region_states, tokens, evidence, fit)

    @torch.inference_mode()
    def _teach(self, encoding: SceneEncoding, own: bool = False) -> SceneEncoding:
        """Add what the lessons say of the boxes; with `own`, after the boxes that only they find."""
        if not len(self.model.lessons):
            return encoding
        from fo1agent.model.lesson import OWN_LEAST, own_boxes

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

    @torch.inference_mode()
    def _looks(self, encoding: SceneEncoding) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        states, keys = encoding.prefix.region_states, encoding.match_keys
        fit = states.new_zeros(len(states)) if keys is None else keys.fit
        states, tokens, fit = (one.float().cpu().numpy() for one in (states, encoding.region_tokens, fit))
        return states, tokens, fit

    @torch.inference_mode()
    def _match_without(
        self, encoding: SceneEncoding, phrases: Sequence[str], silenced: Sequence[Collection[str]]
    ) -> list[np.ndarray]:
        head = self.model.match_head
        if head is None:
            raise InputError(f"{self.name} has no match head, so no terms of it can be silenced.")
        (states,) = self._states([encoding.prefix], [[self.processor.phrase_ids(phrase) for phrase in phrases]])
        results = []
        for terms in silenced:
            kept = head.weights.new_tensor([float(term not in terms) for term in head.TERMS])
            logits = torch.func.functional_call(head, {"weights": head.weights * kept}, (states, encoding.match_keys))
            results.append(self._probability(logits))
        return results

    @torch.inference_mode()
    def _same_kinds(self, encodings: Sequence[SceneEncoding], indexes: Sequence[int]) -> list[np.ndarray]:
        if self.vocabulary is not None:
            return super()._same_kinds(encodings, indexes)
        opened = self.processor.token_id("<objects>")
        stops = self.stop_ids | {opened}
        asked = [
            self._readable(encoding, render("visual_prompt_od", f"<region{index}>"))
            for encoding, index in zip(encodings, indexes, strict=True)
        ]
        read = [prompt for prompt, _, _ in asked]
        questions = [[self.processor.question_ids([prompt.read], text)] for prompt, text, _ in asked]
        # The model names the category itself; the regions are read where it would list them.
        named: list[Tensor] = []
        for parts in self._passes([prompt.prefix.length for prompt in read], questions):
            numbers = [number for number, _ in parts]
            written = self._continued([read[k].prefix for k in numbers], [questions[k] for k in numbers], stops, 32)
            named += [said[~torch.isin(said, torch.tensor(sorted(stops)))] for said in written]
        listings = [
            [torch.cat([question, said, torch.tensor([opened])])]
            for (question,), said in zip(questions, named, strict=True)
        ]
        rows = [rows[0] for rows in self._name_regions(read, listings)] if listings else []
        for k, (_, _, numbering) in enumerate(asked):
            if numbering is not None:
                # Other prompts do not hold the example; their regions are judged by what it was called, or by nothing.
                groups = parse(f"{self.processor.decode(named[k])}<objects></objects>", 0).groups
                whole = (
                    self.match(encodings[k], [groups[0].label])[0]
                    if groups and groups[0].label
                    else np.zeros(len(encodings[k]))
                )
                whole[numbering.numbers] = rows[k]
                rows[k] = whole
        return rows

    @torch.inference_mode()
    def _match(self, encodings: Sequence[SceneEncoding], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        head = self.model.match_head
        asked = [[at_most(LONGEST_PHRASE, self.processor.phrase_ids(one), one) for one in own] for own in phrases]
        if head is None:
            return self._name_regions(
                encodings, [self._listings(*pair) for pair in zip(encodings, phrases, strict=True)]
            )
        states = self._states([encoding.prefix for encoding in encodings], asked)
        pairs = zip(states, encodings, strict=True)
        return [self._probability(head(own, encoding.match_keys)) for own, encoding in pairs]

    def _listings(self, encoding: SceneEncoding, phrases: Sequence[str]) -> list[Tensor]:
        """Ids of each phrase asked for, up to where the model would list its regions."""
        questions = [self.processor.question_ids([encoding.read], render("od", phrase)) for phrase in phrases]
        answers = [
            self.processor.text_ids(f"<ground>{self.processor.plain(phrase)}</ground><objects>") for phrase in phrases
        ]
        return [torch.cat(pair) for pair in zip(questions, answers, strict=True)]

    @torch.inference_mode()
    def _name_regions(
        self, encodings: Sequence[SceneEncoding], branches: Sequence[Sequence[Tensor]]
    ) -> list[np.ndarray]:
        """Probability of each picture's regions at the end of its branches, against the end of the list, [P, N]."""
        found = []
        for encoding, states in zip(encodings, self._states([one.prefix for one in encodings], branches), strict=True):
            regions = self.processor.region_ids(encoding.read)
            logits = self.model.logits(states, [*regions, self.processor.token_id("</objects>")])
            found.append(self._probability(logits[:, :-1] - logits[:, -1:]))
        return found

    def _states(self, prefixes: Sequence[Prefix], branches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Last states of each prefix's branches, [P, d], so many branches at once that the mask stays small."""
        read: list[Tensor] = []
        for parts in self._passes([prefix.length for prefix in prefixes], branches):
            chosen = [branches[number][part] for number, part in parts]
            read.append(branching.start_behind(self.model, [prefixes[number] for number, _ in parts], chosen).read())
        return list(torch.cat(read).split([len(own) for own in branches]))

    def _probability(self, logits: Tensor) -> np.ndarray:
        scores = self.calibration.scale * logits.float() + self.calibration.bias
        return torch.sigmoid(scores).cpu().double().numpy()

    # --- words -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _prefix(self, encodings: Sequence[SceneEncoding]) -> Prefix:
        if not encodings:
            return Prefix.empty(self.model.config.hidden_size)
        ids = self.processor.prefix_ids([one.read for one in encodings])
        pictures = [one.features.picture for one in encodings]
        return self.model.prefill(Sample(ids, pictures, torch.cat([one.region_tokens for one in encodings])))

    @torch.inference_mode()
    def _write(
        self, prefixes: Sequence[Prefix], questions: Sequence[Sequence[Tensor]], max_new_tokens: int
    ) -> list[Tensor]:
        return self._continued(prefixes, questions, self.stop_ids, max_new_tokens)

    def _continued(
        self, prefixes: Sequence[Prefix], questions: Sequence[Sequence[Tensor]], stops: Collection[int], most: int
    ) -> list[Tensor]:
        """Ids that continue each question, up to one of `stops`."""
        if sum(map(len, questions)) == 1:
            return [greedy(self.model, prefixes[0], questions[0][0], stops, most).ids]
        return [reply.ids for reply in greedy_behind(self.model, prefixes, questions, stops, most)]

    def reader(self) -> Callable[[list[int]], np.ndarray]:
        """What reads one text without pictures as it grows: new ids → logits [V] of the id that follows."""
        model, prefix, position = self.model, Prefix.empty(self.model.config.hidden_size), 0
        cache = model.continued(prefix)

        @torch.inference_mode()
        def read(ids: list[int]) -> np.ndarray:
            nonlocal position
            new = torch.tensor([ids], device=model.device)
            positions = (position + torch.arange(new.shape[1], device=new.device)).expand(model.adapter.axes, 1, -1)
            hidden = model.decode(model.embed(new, prefix), positions, None, cache, new)
            position += new.shape[1]
            return model.logits(hidden[:, -1])[0].float().cpu().numpy()

        return read


# --- loading -----------------------------------------------------------------------------------------------------


def load_predictor(
    name_or_folder: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
    attn: str | None = None,
    quantize: str | None = None,
    compile: bool = False,
    pack: bool = False,
) -> Predictor:
    """A predictor from the packaged fo1-nano (None), a local folder, or a Hugging Face hub name.

    Args:
        name_or_folder: a folder of ours or in the public layout; an existing folder wins over a hub name.
        device: where the model runs.
        dtype: of the weights; see `FO1.from_pretrained`.
        attn: how the base attends, see `running.set_attention`; None for transformers' choice.
        quantize: how the base is quantised, see `running.quantize`; None for not at all.
        compile: whether `torch.compile` makes kernels when the model first runs, which takes minutes.
        pack: whether the base's weights are laid out for a CPU, see `running.pack`.

    Raises:
        CheckpointError: nothing there, or it does not load; the message says why.
        InputError: no such dtype, attention or quantisation, or none that runs here.
        MissingExtraError: a package is missing that this takes.
    """
    running.check(attn, quantize, compile, pack, device)
    folder, name = find_folder(name_or_folder)
    processor = FO1Processor.from_folder(folder)
    model = FO1.from_pretrained(folder, dtype, device)
    if attn is not None:
        running.set_attention(model, attn)
    # Encodings grow with a model: those of the 3B at 2048 x 1536 pixels take 400 MB, beside 8 GB of weights.
    kept = max(CACHE_BYTES, sum(parameter.nbytes for parameter in model.parameters()) // 4)
    if quantize is not None:
        running.quantize(model, quantize, compile)
    if compile:
        running.compile_parts(model)
    if pack:
        running.pack(model)
    log.info("%s runs in %s on %s", name, dtype_name(model.dtype), model.device)
    return Predictor(model, processor, name, fingerprint(folder), kept, Likeness.of(folder))
