"""`OnnxPredictor`: the model as a scene sees it, computed by ONNX Runtime and numpy. No torch, no transformers.

It gives what `predictor.Predictor` gives, up to rounding: the same graphs of computation, exported by
`onnx_export.py`, and around them the same steps on arrays (`onnx_arrays.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import InputError
from fo1agent.model import onnx_arrays as arrays
from fo1agent.model.encoding import ImageFeatures, SceneEncoding
from fo1agent.model.finding import find_folder, fingerprint
from fo1agent.model.frames import ImageInputs, PictureTokens, TowerFeatures
from fo1agent.model.likeness import Likeness
from fo1agent.model.onnx_graphs import load_graphs, own_threads, read_arrays, read_own, why_not
from fo1agent.model.onnx_processor import OnnxProcessor
from fo1agent.model.predicting import CACHE_BYTES, LONGEST_PHRASE, BasePredictor, at_most
from fo1agent.model.prompting import IMAGE_SLOT, REGION_SLOT
from fo1agent.model.views import LEVELS, PIXELS, Candidates, anchor_boxes
from fo1agent.pictures.image import LoadedImage
from fo1agent.regions.regions import Regions

_LEVELS = (*LEVELS, PIXELS)
# As in `fo1`.
DETECTOR_FIRST, NEW_BOX_IOU = 0.6, 0.6
TERMS = ("language", "detector", "name", "fit")  # of `heads.MatchHead`


@dataclass
class Prefix:
    """`sequence.Prefix` as arrays."""

    layers: list[np.ndarray]  # keys and values of each layer in turn, each [1, heads, L, head]
    next_position: int
    region_states: np.ndarray
    region_tokens: np.ndarray

    @property
    def length(self) -> int:
        """Tokens in the prefix."""
        return self.layers[0].shape[2]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(one.nbytes for one in self.layers) + self.region_states.nbytes


@dataclass
class Keys:
    """`heads.RegionKeys` as arrays, by the names of the graph's inputs."""

    by_name: dict[str, np.ndarray]

    def tensors(self) -> list[np.ndarray]:
        """All that is kept."""
        return list(self.by_name.values())


@dataclass
class _Behind:
    """K branches behind prefixes that stand one after another in one row, and how far they have been read.

    A decoder's graph has one row, so a token's prefix is told by the mask alone.

    Attributes:
        layers: keys and values, as of a `Prefix`.
        owner: [L] the branch of every token; of a prefix's own tokens its number, -1 the first, -2 the second.
        stem: [K] by which number each branch's prefix goes.
        position: [K] where the next token of each branch stands.
        region_tokens: [N, d] of all prefixes.
        first, regions: [K] where among them those of each branch's prefix begin, and how many they are.
    """

    layers: list[np.ndarray]
    owner: np.ndarray
    stem: np.ndarray
    position: np.ndarray
    region_tokens: np.ndarray
    first: np.ndarray
    regions: np.ndarray

    @classmethod
    def of(cls, prefixes: Sequence[Prefix], counts: Sequence[int]) -> _Behind:
        """Nothing read yet of so many branches behind each prefix."""
        numbers = np.arange(len(prefixes))
        kinds = zip(*(prefix.layers for prefix in prefixes), strict=True)
        layers = prefixes[0].layers if len(prefixes) == 1 else [np.concatenate(kind, axis=2) for kind in kinds]
        tokens = [prefix.region_tokens for prefix in prefixes]
        regions = np.array([len(one) for one in tokens])
        whose = np.repeat(numbers, counts)
        return cls(
            layers,
            -1 - np.repeat(numbers, [prefix.length for prefix in prefixes]),
            -1 - whose,
            np.array([prefix.next_position for prefix in prefixes])[whose],
            np.concatenate(tokens),
            (np.cumsum(regions) - regions)[whose],
            regions[whose],
        )


class OnnxPredictor(BasePredictor):
    """One model, ready for pictures, on the CPU.

    Args:
        folder: with config.json, weights, tokenizer.json and the graphs that `fo1agent export` writes.
        name: for people.
        threads: that a graph computes with; None: as many as there are cores, or as OMP_NUM_THREADS says.

    Raises:
        CheckpointError: something is missing or does not fit.
        InputError: the model has parts for which there are no graphs.
    """

    # All pictures stand in one row, and each token is compared with all of it: 2048 were fastest of 500 to 8192, and
    # many tokens about each of several pictures are faster apart.
    _prefixes_at_once = 2048
    _tokens_of_several = 256

    def __init__(self, folder: Path, name: str = "fo1", threads: int | None = None) -> None:
        self.config = config = read_own(folder)
        if lacking := why_not(config):
            raise InputError(f"{name} cannot run with engine onnx: {lacking}. Use engine torch.")
        self.name, self.fingerprint, self.cache_bytes = name, fingerprint(folder), CACHE_BYTES
        self.processor = OnnxProcessor(folder, config)
        self.likeness = Likeness.of(folder)
        weights = read_arrays(folder)
        self._graphs = load_graphs(folder, config, weights, threads or own_threads())
        self._words = weights["base.model.language_model.embed_tokens.weight"]
        self._head = weights.get("base.lm_head.weight", self._words)
        self._term_weights, self._term_bias = weights["match_head.weights"], weights["match_head.bias"]
        eos = config.known_base.text_config.eos_token_id
        calibration, thresholds = (
            {} if one is None else one.model_dump(exclude_unset=True) for one in (config.calibration, config.thresholds)
        )
        self._know(config.vocabulary, (), calibration, thresholds, eos)

    @property
    def proposes(self) -> bool:
        """Whether the model finds boxes by itself; the detector in its tower does."""
        return True

    def _run(self, graph: str, **inputs: np.ndarray) -> list[np.ndarray]:
        return self._graphs[graph].run(None, inputs)

    # --- pictures ----------------------------------------------------------------------------------------------

    def _encode(self, image: LoadedImage, proposals: Regions | None) -> SceneEncoding:
        features = self._look(self.processor.image(image.pixels))
        if proposals is not None:
            return self._read(features, proposals.boxes, proposals.scores, proposals.source)
        boxes, scores = self._propose(features)
        return self._read(features, boxes.astype(np.float64), scores.astype(np.float64), "fo1")

    def _given(self, encoding: SceneEncoding, boxes: np.ndarray) -> SceneEncoding:
        return self._read(encoding.features, boxes, np.ones(len(boxes)), "given")

    def _look(self, inputs: ImageInputs) -> ImageFeatures:
        """Run both towers once."""
        cosines, sines, windows = arrays.vision_places(inputs.grid_hw, self.config.known_base.vision_config)
        (tokens,) = self._run("vision", patches=inputs.pixel_values, cosines=cosines, sines=sines, windows=windows)
        maps: list[np.ndarray] = []
        boxes, logits = [], []
        views: Any = self.config.aux
        for view, pixels in zip(views.views, inputs.aux_views.values(), strict=True):
            *own, codes, said = self._run("tower", pixels=pixels)
            grids = [one.shape[2:] for one in own[2:4]]
            while len(grids) < 6:  # the extra layers halve, rounding up
                grids.append((-(-grids[-1][0] // 2), -(-grids[-1][1] // 2)))
            found = arrays.decode(codes, anchor_boxes(grids, pixels.shape[1:3]))
            boxes.append(
                np.stack([1 - found[:, 2], found[:, 1], 1 - found[:, 0], found[:, 3]], 1) if view.mirrored else found
            )
            logits.append(said)
            maps = maps or own
        seen = TowerFeatures(maps, inputs.sizes.aux_wh)
        candidates = Candidates(tuple(boxes), tuple(logits))
        return ImageFeatures(PictureTokens(tokens, inputs.merged_hw), inputs.sizes, seen, candidates=candidates)

    def _propose(self, features: ImageFeatures) -> tuple[np.ndarray, np.ndarray]:
        """`FO1.propose`: the detector's surest, what only the proposal head sees, then the detector's rest."""
        limit, sizes, seen = self.max_regions, features.sizes, features.candidates
        boxes, scores = arrays.detector_proposals(
            np.concatenate(seen.boxes), np.concatenate(seen.logits), sizes.original_wh, limit
        )
        head = self.config.heads.proposal if self.config.heads else None
        if head is None:
            return boxes, scores
        maps = {f"map{k}": features.aux.maps[k] for k in head.levels}
        logits, sides = self._run("proposals", **maps)
        grids = [
            (one.shape[2:], _LEVELS[k].stride, _LEVELS[k].offset)
            for k, one in zip(head.levels, maps.values(), strict=True)
        ]
        for _ in range(head.extra_levels):
            (h, w), stride, offset = grids[-1]
            grids.append(((-(-h // 2), -(-w // 2)), stride * 2, offset))
        found, found_scores = arrays.head_proposals(logits, sides, arrays.cells(grids), sizes.aux_wh, limit)
        found = sizes.from_aux(found)
        sure = int(limit * DETECTOR_FIRST)
        new = (arrays.overlaps(found, boxes[:sure]) <= NEW_BOX_IOU).all(axis=1)
        boxes = np.concatenate([boxes[:sure], found[new], boxes[sure:]])[:limit]
        return boxes, np.concatenate([scores[:sure], found_scores[new], scores[sure:]])[:limit]

    def _read(self, features: ImageFeatures, boxes: np.ndarray, scores: np.ndarray, source: str) -> SceneEncoding:
        boxes, scores, note = self._kept(boxes, scores, source)
        evidence = arrays.evidence(
            list(zip(features.candidates.boxes, features.candidates.logits, strict=True)),
            features.sizes.to_fractions(boxes),
        )
        tokens, fit = self._region_tokens(features, boxes, evidence)

        def read(places: np.ndarray, _: Prefix | None) -> tuple[Prefix, Keys | None]:
            return self._prompted(features, tokens[places], evidence[places], fit[places])

        # Of region vectors only lessons read the pooled numbers, and there are none.
        return self._by_prompts(SceneEncoding(boxes, scores, note, source, features, evidence, tokens, None), read)

    def _prompted(
        self, features: ImageFeatures, tokens: np.ndarray, evidence: np.ndarray, fit: np.ndarray
    ) -> tuple[Prefix, Keys | None]:
        """The beginning of a prompt about these regions, and what phrases are compared with."""
        ids = self.processor.prefix_ids([len(tokens)])
        prefix = self._prefill(ids, [features.image_tokens], [features.grid_hw], tokens)
        if not len(tokens):
            return prefix, None
        found = self._run("keys", states=prefix.region_states, tokens=tokens, evidence=evidence)
        return prefix, Keys(dict(zip(("keys", "named", "detected", "seen"), found, strict=True), fit=fit))

    def _looks(self, encoding: SceneEncoding) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return encoding.prefix.region_states, encoding.region_tokens, encoding.match_keys.by_name["fit"]

    def _region_tokens(
        self, features: ImageFeatures, boxes: np.ndarray, evidence: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Region tokens [N, d] and logits of the predicted overlap [N]."""
        if not len(boxes):
            return np.zeros((0, self._words.shape[1]), dtype=np.float32), np.zeros(0, dtype=np.float32)
        size_wh, places = features.sizes.aux_wh, features.sizes.to_aux(boxes)
        pools = self.config.region.pools if self.config.region else []
        reads: dict[str, np.ndarray] = {}
        size = 0
        for k, pool in enumerate(pools):
            level, seen = _LEVELS[pool.level], features.aux.maps[pool.level]
            read = places if pool.context == 1.0 else arrays.enlarged(places, pool.context, size_wh)
            x1, y1, x2, y2 = ((read - np.float32(level.offset)) / np.float32(level.stride)).T
            reads[f"read{k}"] = seen
            reads[f"rows{k}"] = arrays.axis_weights(y1, y2, seen.shape[2], pool.bins)
            reads[f"columns{k}"] = arrays.axis_weights(x1, x2, seen.shape[3], pool.bins)
            size += level.channels * pool.bins**2
        embedding = arrays.box_embedding(places, size_wh, size)
        tokens, fit = self._run("regions", embedding=embedding, evidence=evidence, **reads)
        return tokens, fit

    # --- the language model ------------------------------------------------------------------------------------

    def _embed(
        self, ids: np.ndarray, region_tokens: np.ndarray, first: Any = 0, regions: np.ndarray | None = None
    ) -> np.ndarray:
        """Word embeddings [L, d] of ids without slots; mentions of regions carry their tokens.

        Args:
            ids: [L].
            region_tokens: [N, d].
            first: which of them `<region0>` means, for all ids or for each [L].
            regions: how many of them each id may mean [L]; None: all.
        """
        embeds = self._words[ids]
        if self.config.first_mention is not None:
            number = ids - self.config.first_mention
            known = (number >= 0) & (number < (len(region_tokens) if regions is None else regions))
            embeds[known] += region_tokens[(number + first)[known]]
        return embeds

    def _decode(
        self, embeds: np.ndarray, positions: np.ndarray, mask: np.ndarray, layers: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Last states [S, d] of embeddings [S, d] behind `layers`, and the layers with these tokens."""
        past = {f"{kind}{k // 2}": one for k, (kind, one) in enumerate(zip(_KINDS * len(layers), layers, strict=False))}
        states, *layers = self._run("decoder", embeds=embeds[None], positions=positions[:, None], mask=mask, **past)
        return states[0], layers

    def _nothing(self) -> list[np.ndarray]:
        """The layers of no token."""
        text = self.config.known_base.text_config
        shape = (1, text.num_key_value_heads, 0, text.hidden_size // text.num_attention_heads)
        return [np.zeros(shape, dtype=np.float32)] * (2 * text.num_hidden_layers)

    def _prefill(
        self,
        ids: np.ndarray,
        image_tokens: Sequence[np.ndarray],
        grids: Sequence[tuple[int, int]],
        region_tokens: np.ndarray,
    ) -> Prefix:
        """Read the part of a prompt that its questions share, once."""
        places, following = arrays.positions(ids.tolist(), grids)
        counts = np.ones_like(ids)
        counts[ids == IMAGE_SLOT] = [len(tokens) for tokens in image_tokens]
        ids = np.repeat(ids, counts)
        embeds = self._embed(ids.clip(min=0), region_tokens)
        embeds[ids == IMAGE_SLOT] = np.concatenate(image_tokens)
        embeds[ids == REGION_SLOT] = region_tokens
        mask = arrays.branch_mask(np.full(len(ids), -1), len(ids))
        states, layers = self._decode(embeds, places, mask, self._nothing())
        return Prefix(layers, following, states[ids == REGION_SLOT], region_tokens)

    def _branches(
        self, prefixes: Sequence[Prefix], branches: Sequence[Sequence[np.ndarray]]
    ) -> tuple[np.ndarray, _Behind]:
        """Last states [K, d] of branches that all see their prefix and nothing of each other, and how to go on."""
        behind = _Behind.of(prefixes, [len(own) for own in branches])
        flat = [branch for own in branches for branch in own]
        lengths = [len(branch) for branch in flat]
        states = self._read_on(behind, np.concatenate(flat), np.repeat(np.arange(len(flat)), lengths))
        return states[np.cumsum(lengths) - 1], behind

    def _read_on(self, behind: _Behind, ids: np.ndarray, branch: np.ndarray) -> np.ndarray:
        """Last states [T, d] of ids [T] that continue branches [T], which do not fall; as `branches.SharedRows`."""
        counts = np.bincount(branch, minlength=len(behind.position))
        at = behind.position[branch] + np.arange(len(ids)) - (np.cumsum(counts) - counts)[branch]
        behind.position += counts
        behind.owner = np.concatenate([behind.owner, branch])
        mask = arrays.branch_mask(behind.owner, len(ids), behind.stem)
        embeds = self._embed(ids, behind.region_tokens, behind.first[branch], behind.regions[branch])
        states, behind.layers = self._decode(embeds, np.stack([at] * 3), mask, behind.layers)
        return states

    # --- phrases and words -------------------------------------------------------------------------------------

    def _match(self, encodings: Sequence[SceneEncoding], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        return [found[0] for found in self._matched(encodings, phrases, [()])]

    def _match_without(
        self, encoding: SceneEncoding, phrases: Sequence[str], silenced: Sequence[Collection[str]]
    ) -> list[np.ndarray]:
        return self._matched([encoding], [phrases], silenced)[0]

    def _matched(
        self,
        encodings: Sequence[SceneEncoding],
        phrases: Sequence[Sequence[str]],
        silenced: Sequence[Collection[str]],
    ) -> list[list[np.ndarray]]:
        """For each picture probabilities [P, N], for each of `silenced` without some terms."""
        asked = [[at_most(LONGEST_PHRASE, self.processor.phrase_ids(one), one) for one in own] for own in phrases]
        read: list[np.ndarray] = []
        for parts in self._passes([encoding.prefix.length for encoding in encodings], asked):
            prefixes = [encodings[number].prefix for number, _ in parts]
            read.append(self._branches(prefixes, [asked[number][part] for number, part in parts])[0])
        states = np.split(np.concatenate(read), np.cumsum([len(own) for own in asked])[:-1])
        return [self._probabilities(*pair, silenced) for pair in zip(encodings, states, strict=True)]

    def _probabilities(
        self, encoding: SceneEncoding, states: np.ndarray, silenced: Sequence[Collection[str]]
    ) -> list[np.ndarray]:
        (terms,) = self._run("match", states=states, **encoding.match_keys.by_name)
        found = []
        for names in silenced:
            weights = self._term_weights * [name not in names for name in TERMS]
            logits = np.einsum("t,tpn->pn", weights.astype(np.float32), terms) + self._term_bias
            scores = np.float32(self.calibration.scale) * logits + np.float32(self.calibration.bias)
            found.append(arrays.sigmoid(scores).astype(np.float64))
        return found

    def _prefix(self, encodings: Sequence[SceneEncoding]) -> Prefix:
        if not encodings:
            none = np.zeros((0, self._words.shape[1]), dtype=np.float32)
            return Prefix(self._nothing(), 0, none, none)
        images = [one.features.image_tokens for one in encodings]
        grids = [one.features.grid_hw for one in encodings]
        regions = np.concatenate([one.region_tokens for one in encodings])
        return self._prefill(self.processor.prefix_ids([one.read for one in encodings]), images, grids, regions)

    def _write(
        self, prefixes: Sequence[Prefix], questions: Sequence[Sequence[np.ndarray]], max_new_tokens: int
    ) -> list[np.ndarray]:
        """As `generation.greedy_behind`: the likeliest ids, one token of each in a pass."""
        taken: list[list[int]] = [[] for own in questions for _ in own]
        if taken and max_new_tokens:
            states, behind = self._branches(prefixes, questions)
            going = np.arange(len(taken))
            while True:
                found = (states @ self._head.T).argmax(axis=1)
                for branch, token in zip(going.tolist(), found.tolist(), strict=True):
                    taken[branch].append(token)
                on = ~np.isin(found, list(self.stop_ids))
                if not on.any() or len(taken[going[0]]) == max_new_tokens:
                    break
                going = going[on]
                states = self._read_on(behind, found[on], going)
        return [np.array(ids, dtype=np.int64) for ids in taken]

    def reader(self) -> Callable[[list[int]], np.ndarray]:
        """What reads one text without pictures as it grows: new ids → logits [V] of the id that follows."""
        layers, position = self._nothing(), 0
        none = np.zeros((0, self._words.shape[1]), dtype=np.float32)

        def read(ids: list[int]) -> np.ndarray:
            nonlocal layers, position
            at = position + np.arange(len(ids))
            mask = arrays.branch_mask(np.full(position + len(ids), -1), len(ids))
            states, layers = self._decode(self._embed(np.array(ids), none), np.stack([at] * 3), mask, layers)
            position += len(ids)
            return states[-1] @ self._head.T

        return read


_KINDS = ("keys", "values")


def load_predictor(name_or_folder: str | Path | None = None) -> OnnxPredictor:
    """A predictor from the packaged fo1-nano (None), a local folder, or a Hugging Face hub name.

    Raises:
        CheckpointError, InputError: as for `OnnxPredictor`, or nothing is there.
    """
    return OnnxPredictor(*find_folder(name_or_folder))
