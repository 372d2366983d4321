"""FO1: precise eyes plugged into an unmodified vision-language model.

    image ─► base vision tower ─► image tokens ─────────────────────────┐
      └────► auxiliary tower ─► region encoder ◄─ boxes                 ├─► splice ─► base decoder ─► hidden states
                                  └─► region projector ─► region tokens ┘

`encode_image` runs the towers, `encode_regions` turns boxes into tokens, `assemble` splices tokens into prompts,
`forward` reads the result, and `generate`, transformers' own, writes what follows. Each step may also start from what
another run kept: training reads cached features, an open scene keeps its tokens and the decoder's prefix. The model
knows no tokenizer, task or tool.

Source: VLM-FO1 (arXiv 2509.25916).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Cache, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.generic import ModelOutput

from fo1agent.errors import InputError
from fo1agent.model import attention, bases, branches, reading, running
from fo1agent.model.aux_encoder import build_aux
from fo1agent.model.config import FO1Config
from fo1agent.model.encoding import ImageFeatures
from fo1agent.model.finding import find_folder
from fo1agent.model.frames import ImageInputs, PictureTokens
from fo1agent.model.generation import FO1GenerationMixin
from fo1agent.model.masks import Mask, Sight, attention_mask
from fo1agent.model.packing import spread
from fo1agent.model.prefix import Prefix, cut, forked, roomy
from fo1agent.model.prompting import ProcessingConfig
from fo1agent.model.region_encoder import Level, RegionConfig, RegionEncoder, TowerFeatures
from fo1agent.model.sequence import (
    IGNORED,
    IMAGE_SLOT,
    Sample,
    TokenBatch,
    assemble,
    check_ids,
    check_length,
    mentioned,
)
from fo1agent.model.stored import check_parts
from fo1agent.model.tensors import FLOATS, dtype_name
from fo1agent.model.tokenizer_files import add_tokens
from fo1agent.regions.regions import check_boxes, check_inside, shown

# The share of proposals that the tower's detector makes before the proposal head fills gaps, and what counts as a gap.
# With these, recall@100 on coco-natural dev is 67.9 / 40.0 (IoU .5 / .75); the detector alone gives 62.8 / 38.8.
DETECTOR_FIRST, NEW_BOX_IOU = 0.6, 0.6


@dataclass
class FO1Output(ModelOutput):
    """What `FO1.forward` returns.

    Attributes:
        loss: mean cross-entropy of the labelled tokens, or None.
        logits: [B, kept, V], or None when none were asked for.
        hidden_states: [B, L, d], the decoder's last.
        cache: the decoder's keys and values, or None.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: Tensor = None  # pyright: ignore[reportAssignmentType] (transformers wants a default; it is always set)
    cache: Cache | None = None


class FO1(PreTrainedModel, FO1GenerationMixin):
    """The model: base, auxiliary tower, region encoder, projectors, and the heads and lessons that its config names."""

    config_class = FO1Config
    base_model_prefix = ""
    main_input_name = "input_ids"
    _supports_sdpa = True
    _supports_flash_attn = True
    config: FO1Config
    # The parts are built from the config, so only their protocols are known here.
    base: Any
    aux: Any
    match_head: Any
    iou_head: Any
    proposal_head: Any
    lessons: Any

    def __init__(self, config: FO1Config, base: Any = None) -> None:
        super().__init__(config)
        self.base = self.adapter.build(config.base_config) if base is None else base
        if base is None:  # somebody else's stays as it is
            self.adapter.decoder(self.base).set_attn_implementation(attention.NAME)
        self.aux = build_aux(config.aux)
        self.region_encoder = RegionEncoder(RegionConfig(**config.region), self.aux.levels)
        width = config.hidden_size
        seen = self.adapter.image_token_size(config.base_config)
        of_tokens = self.region_encoder.config.of_tokens
        check_widths(config, seen, seen if of_tokens else self.adapter.map_size(config.base_config))
        self.image_projector = build_projector(seen, width, **config.image_projector)
        self.region_projector = build_projector(self.region_encoder.size, width, **config.region_projector)
        self.match_head, self.iou_head, self.proposal_head = build_heads(config.heads, width, self.aux.levels)
        self.lessons = nn.ModuleList()
        if config.lessons:
            from fo1agent.model.lesson import build_lessons

            self.lessons = build_lessons(config.lessons, self.aux.levels, self.region_encoder.size)
        text = config.get_text_config()
        self.generation_config = GenerationConfig(
            max_new_tokens=256, eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id
        )
        self.post_init()

    @classmethod
    def attach(
        cls,
        base: Any,
        tokenizer: PreTrainedTokenizerBase,
        aux: Mapping[str, Any] | None = None,
        **parts: Any,
    ) -> FO1:
        """FO1 around a vision-language model of your own; all other parts are new and have learned nothing.

        Args:
            base: a model of a family of `bases.FAMILIES`. It is used as it is and not copied; its embedding gets rows
                for tokens that are new to it.
            tokenizer: the base's; it gets the tokens of FO1 that it lacks.
            aux: the auxiliary tower, as `FO1Config` has it.
            parts: further fields of `FO1Config`. By default regions look at the base's vision tower too.

        Raises:
            CheckpointError: FO1 does not plug into that family.
            InputError: `aux` or `parts` say what no config.json may; names the field, what was got and what was wanted.
        """
        adapter, known = bases.adapter(base.config.model_type), base.config
        check_parts({"aux": None if aux == {} else aux, **parts})
        add_tokens(tokenizer, ProcessingConfig(**parts.get("processing") or {}).max_regions)
        rows = max(tokenizer.get_vocab().values()) + 1
        if rows > len(base.get_input_embeddings().weight):
            base.resize_token_embeddings(rows, mean_resizing=False)
        stride = adapter.map_stride(known)
        region = {
            "primary_channels": adapter.map_size(known),
            "fpn_strides": [stride * factor for factor in (0.25, 0.5, 1, 2)],
            **(parts.pop("region", None) or {}),
        }
        model = cls(FO1Config(base_config=known, aux=dict(aux or {}), region=region, **parts), base)
        model.to(device=base.device, dtype=base.dtype)  # pyright: ignore[reportCallIssue] (transformers types it wrongly)
        return model.eval()

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        name_or_folder: str | Path | None = None,
        dtype: torch.dtype | str | None = None,
        device_map: str | int | torch.device | dict[str, Any] | None = None,
    ) -> FO1:
        """The model of a folder, strictly read, in eval mode.

        Args:
            name_or_folder: a folder of ours or in the public layout, a Hugging Face name (`owner/model`), or None for
                the embedded fo1-nano. An existing folder wins over a name.
            dtype: of all weights, such as `torch.bfloat16` or "bfloat16". "auto" or None: as they are stored, where the
                device has units for it (bfloat16 on a CPU: avx512_bf16, AMX or ARM's), else float32.
            device_map: the one device that the whole model goes to; None is the CPU.

        Raises:
            CheckpointError: nothing there, or it does not load; the message says why.
            InputError: no such dtype, or a map to several devices.
        """
        device = one_device(device_map)
        chosen = dtype is None or dtype == "auto"
        wanted: Any = None if chosen else getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype
        if not chosen and wanted not in FLOATS:
            names = ", ".join(map(dtype_name, FLOATS))
            raise InputError(f'dtype is "auto" or one of {names}, got {shown(dtype)}.')
        model: Any = cls.from_folder(find_folder(name_or_folder)[0], wanted)
        if chosen and (wanted := running.suited(model.dtype, device)) != model.dtype:
            model.to(wanted)
        return model.to(device)

    @classmethod
    def from_folder(cls, folder: Path, dtype: torch.dtype | None = None) -> FO1:
        """`from_pretrained` of a local folder, to the CPU; a dtype of None keeps what is stored.

        Raises:
            CheckpointError: see `weights.load`.
        """
        config, tensors = reading.read(folder)
        model = reading.build(cls, config, tensors, folder)
        reading.put_tensors(model, tensors, dtype, folder)
        return model.eval()

    @property
    def adapter(self) -> bases.Adapter:
        """What FO1 knows of its base's family."""
        return bases.adapter(self.config.base_config.model_type)

    def _init_weights(self, module: nn.Module) -> None:
        """Our own parts initialise themselves in their constructors; base and DaViT follow their own classes."""

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Hugging Face's, with the names of our own modules (by default it would write the base's historical ones)."""
        super().save_pretrained(save_directory, **{"save_original_format": False, **kwargs})

    # --- the path of one image ---------------------------------------------------------------------------------

    def encode_image(self, inputs: ImageInputs) -> ImageFeatures:
        """Run both towers once."""
        device, sizes = self.device, inputs.sizes
        aux_dtype = next(self.aux.parameters()).dtype
        of_tokens = self.region_encoder.config.of_tokens
        wants_map = self.region_encoder.simple_fpn is not None
        seen = inputs.seen.to(device)
        vision = self.adapter.encode_image(self.base, seen, wants_map and not of_tokens)
        if wants_map and of_tokens:
            vision = replace(vision, map=token_map(vision.tokens, seen.merged_hw))
        views = {name: view.to(device, aux_dtype) for name, view in inputs.aux_views.items()}
        maps, candidates = self.aux(views)
        return ImageFeatures(
            picture=PictureTokens(self.image_projector(vision.tokens), seen.merged_hw, inputs.ids, vision.extras),
            sizes=sizes,
            aux=TowerFeatures(maps, sizes.aux_wh),
            primary=None if vision.map is None else TowerFeatures([vision.map], sizes.primary_wh),
            candidates=candidates,
            pyramid=self.region_encoder.pyramid(maps, sizes.aux_wh),
        )

    def encode_regions(self, features: ImageFeatures, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Region vectors and region tokens.

        Args:
            features: of the image that the boxes belong to.
            boxes: [N, 4] xyxy pixels of the original image. N may be 0.

        Returns:
            [N, region_encoder.size] float32 and [N, d].
        """
        vectors = self.region_vectors(features, boxes)
        return vectors, self.project_regions(vectors)

    def region_vectors(self, features: ImageFeatures, boxes: Tensor) -> Tensor:
        """The first half of `encode_regions`, [N, region_encoder.size] float32."""
        sizes = features.sizes
        aux_boxes = self.placed(sizes.to_aux(boxes))
        primary_boxes = None if features.primary is None else self.placed(sizes.to_primary(boxes))
        evidence = None
        if self.region_encoder.config.evidence_size:
            from fo1agent.model.heads import evidence as detector_evidence

            evidence = detector_evidence(self._seen(features), self.placed(sizes.to_fractions(boxes)))
        return self.region_encoder(
            features.pyramid or features.aux, aux_boxes, features.primary, primary_boxes, evidence
        )

    def placed(self, boxes: np.ndarray) -> Tensor:
        """Boxes of an `ImageSizes` where the model is."""
        return torch.from_numpy(boxes).to(self.device)

    def project_regions(self, vectors: Tensor) -> Tensor:
        """Region vectors [N, F] → region tokens [N, d]."""
        # A quantised projector may have no parameters; the model's dtype is then what it computes in.
        dtype = next((parameter.dtype for parameter in self.region_projector.parameters()), self.dtype)
        return self.region_projector(vectors.to(dtype))

    @property
    def proposes(self) -> bool:
        """Whether the model finds boxes by itself."""
        return self.proposal_head is not None or self.aux.detects

    def propose(self, features: ImageFeatures, limit: int = 100) -> tuple[Tensor, Tensor]:
        """The model's own boxes: the detector's surest, what only the proposal head sees, then the detector's rest.

        Returns:
            [N, 4] xyxy pixels of the original image and their scores [N] in 0..1, in that order. N may be 0.
        """
        boxes, scores = features.image_tokens.new_zeros(0, 4), features.image_tokens.new_zeros(0)
        if features.candidates is not None:
            from fo1agent.model.heads import detector_proposals

            boxes, scores = detector_proposals(self._seen(features), features.sizes.original_wh, limit)
        if self.proposal_head is None:
            return boxes, scores
        from fo1agent.model.proposal_head import fill_gaps

        maps = [features.aux.maps[level] for level in self.config.heads["proposal"]["levels"]]
        width, height = features.sizes.aux_wh
        found, found_scores = self.proposal_head.decode(self.proposal_head(maps), (height, width), limit)
        found = self.placed(features.sizes.from_aux(found.cpu().numpy()))
        sure = int(limit * DETECTOR_FIRST)
        new = fill_gaps(boxes[:sure], found, NEW_BOX_IOU)
        boxes = torch.cat([boxes[:sure], found[new], boxes[sure:]])[:limit]
        return boxes, torch.cat([scores[:sure], found_scores[new], scores[sure:]])[:limit]

    def _seen(self, features: ImageFeatures) -> list[tuple[Tensor, Tensor]]:
        """Per view of the tower's detector: candidate boxes and their class logits."""
        return list(zip(features.candidates.boxes, features.candidates.logits, strict=True))

    # --- the path of a prompt ----------------------------------------------------------------------------------

    def assemble(self, samples: Sequence[Sample]) -> TokenBatch:
        """Splice prompts into one padded batch; see `sequence.Sample`."""
        return assemble(
            samples,
            embed=self.embed,
            positions=lambda *args: self.adapter.positions(self.base, *args),
            device=self.device,
            first_mention=self.config.first_mention,
        )

    def embed(self, ids: Tensor, prefix: Prefix | None = None) -> Tensor:
        """Word embeddings [..., d] of ids without slots; behind a prefix, mentions of regions carry their tokens."""
        embeds = self.base.get_input_embeddings()(ids.to(self.device))
        if prefix is None or self.config.first_mention is None:
            return embeds
        tokens = prefix.region_tokens.to(embeds)
        return embeds + mentioned(ids.flatten(), tokens, self.config.first_mention).view_as(embeds)

    def read(self, new: int, *inputs: Any, **named: Any) -> TokenBatch:
        """`assemble` what `samples` makes of its arguments, with places for so many new tokens.

        Raises:
            InputError: see `samples` and `check_length`.
        """
        batch = self.assemble(self.samples(*inputs, **named))
        check_length(self.config.get_text_config().max_position_embeddings, int(batch.next_position.max()), new)
        return batch

    def samples(
        self,
        input_ids: Tensor,
        images: Sequence[ImageInputs] = (),
        boxes: Sequence[Any] = (),
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> list[Sample]:
        """Run the towers over what `FO1Processor` made, and give each prompt the tokens of its own pictures.

        Args:
            input_ids: [B, P] with slots.
            images: all pictures of the batch, in the order of their slots.
            boxes: [N, 4] for each picture, xyxy pixels of the original.
            attention_mask: [B, P], 0 on padding, which may stand on either side; None: there is none.
            labels: [B, P] targets, `IGNORED` where there is none.

        Raises:
            InputError: slots, pictures and boxes differ in number, or one of these is something else.
            BoxError: a box is malformed, or has no area inside its picture.
        """
        check_ids(self.config.get_text_config().vocab_size, input_ids, attention_mask, labels)
        if not isinstance(images, (list, tuple)) or not all(isinstance(image, ImageInputs) for image in images):
            raise InputError(f"images must be the pictures that FO1Processor made, got {shown(images)}.")
        if not isinstance(boxes, (list, tuple)):
            raise InputError(f"boxes must be a list of [N, 4] for each image, got {shown(boxes)}.")
        slots = (input_ids == IMAGE_SLOT).sum(1).tolist()
        if not sum(slots) == len(images) == len(boxes):
            raise InputError(
                f"input_ids has {sum(slots)} image slots, with {len(images)} images and {len(boxes)} arrays of boxes. "
                "Give one of each per slot, as FO1Processor does."
            )
        inside = [
            torch.from_numpy(check_inside(check_boxes(own), image.sizes.original_hw))
            for image, own in zip(images, boxes, strict=True)
        ]
        features = [self.encode_image(image) for image in images]
        tokens = [self.encode_regions(seen, own)[1] for seen, own in zip(features, inside, strict=True)]
        found, first = [], 0
        for row, count in enumerate(slots):
            kept = slice(None) if attention_mask is None else attention_mask[row].bool()
            own, first = slice(first, first + count), first + count
            regions = torch.cat(tokens[own]) if count else None
            targets = None if labels is None else labels[row][kept]
            found.append(Sample(input_ids[row][kept], [seen.picture for seen in features[own]], regions, targets))
        return found

    def forward(
        self,
        batch: TokenBatch | None = None,
        cache: Cache | None = None,
        logits_to_keep: int | None = 0,
        return_dict: bool = True,
        **inputs: Any,
    ) -> FO1Output:
        """Read a batch.

        Args:
            batch: what `assemble` made; or None, and `inputs`.
            cache: filled with the batch's keys and values when given; must be empty.
            logits_to_keep: how many of the last positions get logits: 0 all, None none.
            return_dict: for transformers' sake; there is one form of output.
            inputs: what `FO1Processor` made, and `labels`; see `samples`.

        The loss needs no logits kept: it is computed at the labelled positions only.
        """
        batch = batch or self.read(0, **inputs)
        hidden = self.states(batch, cache)
        loss = None
        if batch.labels is not None:
            targets = batch.labels[:, 1:]
            learned = targets != IGNORED
            loss = F.cross_entropy(self.logits(hidden[:, :-1][learned]).float(), targets[learned])
        logits = None
        if logits_to_keep is not None:
            logits = self.logits(hidden[:, -logits_to_keep:])
        return FO1Output(loss, logits, hidden, cache)

    def states(self, batch: TokenBatch, cache: Cache | None = None) -> Tensor:
        """Last hidden states [B, L, d] of a batch; without a cache it may hold branches, whatever the decoder is."""
        if len(batch.branch_ends) and not self.adapter.can_branch:
            rows = spread(batch)
            return rows.unpack(self.states(rows.batch))
        more: Mapping[str, Any] = {}
        if batch.image_index is not None:
            slots = batch.image_index >= 0
            rows = batch.image_index[slots]
            more = self.adapter.picture_inputs(slots, [extra[rows] for extra in batch.extras])
        mask = self.mask(batch.sight(), batch.inputs_embeds.shape[1])
        return self.decode(batch.inputs_embeds, batch.position_ids, mask, cache, batch.ids, **more)

    def mask(self, sight: Sight, queries: int) -> Mask | None:
        """What the decoder is told of who sees whom, for the last `queries` tokens of each row; see `decode`."""
        adapter = self.adapter
        window = adapter.window(self.config.base_config)
        return attention_mask(sight, queries, self.base.dtype, window, adapter.look_ahead(self.config.base_config))

    def logits(self, hidden: Tensor, words: Sequence[int] | None = None) -> Tensor:
        """Last hidden states [..., d] → logits [..., V], or [..., K] of the ids `words` alone."""
        return self.adapter.logits(self.base, hidden, words)

    def decode(
        self,
        inputs_embeds: Tensor,
        position_ids: Tensor,
        mask: Mask | None,
        cache: Cache | None,
        ids: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """The base's decoder on embeddings; last hidden states [B, L, d].

        Args:
            inputs_embeds: [B, L, d].
            position_ids: [axes, B, L].
            mask: as `mask` makes it; None: nothing but order decides who sees whom.
            cache: what was read before; grows.
            ids: [B, L], of which the embeddings were made; slots are negative.
            more: what else the decoder takes.
        """
        # The embeddings first: the first tensor gives the decoder the batch size.
        output = self.adapter.decoder(self.base)(
            inputs_embeds=inputs_embeds,
            position_ids=position_ids if self.adapter.axes > 1 else position_ids[0],
            attention_mask=mask,
            use_cache=cache is not None,
            **{_cache_name(type(self.adapter.decoder(self.base))): cache},
            **more,
            **({} if ids is None else self.adapter.word_inputs(self.base, ids.to(inputs_embeds.device))),
        )
        return output.last_hidden_state

    # --- many questions about one image ------------------------------------------------------------------------

    def prefill(self, sample: Sample, known: Prefix | None = None) -> Prefix:
        """Read the part of a prompt that its questions share, once.

        Args:
            sample: the prompt's beginning.
            known: what was read of another with the same one picture and other regions: picture tokens, most of a
                prompt, are then taken from there where the decoder's state can be cut behind them.
        """
        batch = self.assemble([sample])
        begun, cache = 0, None
        if known is not None and known.state is not None and batch.image_index is not None:
            begun = int(batch.image_index[0].argmax()) + 1
            cache = cut(known.state, begun)
        if cache is None:
            begun, cache = 0, self.adapter.cache(self.config.base_config)
            hidden = self.states(batch, cache)
        else:
            embeds, positions = batch.inputs_embeds[:, begun:], batch.position_ids[..., begun:]
            ids = None if batch.ids is None else batch.ids[:, begun:]
            hidden = self.decode(embeds, positions, self.mask(batch.sight(), embeds.shape[1]), cache, ids)
        return Prefix(
            cache,
            begun + hidden.shape[1],
            int(batch.next_position[0]),
            hidden[batch.region_slots[:, begun:]],
            hidden.new_zeros(0, hidden.shape[-1]) if sample.region_tokens is None else sample.region_tokens,
        )

    def continued(self, prefix: Prefix, rows: int = 1) -> Cache:
        """A cache of so many rows that go on from a prefix, which stays as it is."""
        if prefix.state is None:
            return roomy(self.adapter.cache(self.config.base_config))
        return roomy(forked(prefix.state, rows))

    def phrase_states(self, prefix: Prefix, phrases: Sequence[Tensor]) -> Tensor:
        """Last hidden state at the last token of each phrase, [P, d], all phrases in one pass where the base can.

        Each phrase ([.] int64, no slots, at least one token) continues the prefix as if it were alone; the prefix is
        not changed.
        """
        if not phrases:
            return prefix.region_states.new_zeros(0, self.config.hidden_size)
        return branches.start(self, prefix, phrases).read()


@lru_cache(maxsize=32)
def _cache_name(decoder: type[nn.Module]) -> str:
    """What a decoder of this class calls its cache; before transformers 5.20 it had another name."""
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"


def token_map(tokens: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Image tokens [T, C] in raster order → map [1, C, rows, columns].

    Raises:
        InputError: they are not so many that they fill the grid, as those of a picture that is read in tiles.
    """
    rows, columns = grid_hw
    if len(tokens) != rows * columns:
        raise InputError(
            f"region.of_tokens makes a map of the image tokens, but this base reads the picture as {len(tokens)} "
            f"tokens, not as {rows} x {columns}: leave of_tokens out."
        )
    return tokens.T.reshape(1, -1, rows, columns)


def one_device(device_map: str | int | torch.device | dict[str, Any] | None) -> torch.device:
    """The device of a map that has only one.

    Raises:
        InputError: it has several, or it is none that torch knows.
    """
    told: Any = device_map.get("") if isinstance(device_map, dict) and len(device_map) == 1 else device_map
    try:
        return torch.device("cpu" if told is None else told)
    except (RuntimeError, TypeError) as exc:
        raise InputError(f'device_map is one device, such as "cuda:0", got {device_map!r}.') from exc


def check_widths(config: FO1Config, tokens: int, channels: int) -> None:
    """Refuse a configuration whose parts do not fit the base.

    Args:
        config: the model's.
        tokens: width of the tokens that the base's vision tower gives.
        channels: of the map that it gives.

    Raises:
        InputError: names the field, what was got and what was wanted.
    """
    if not config.image_projector.get("layers") and tokens != config.hidden_size:
        raise InputError(
            f"The base's vision tower gives image tokens of {tokens} numbers and its language model reads "
            f"{config.hidden_size}: give image_projector layers."
        )
    primary = config.region.get("primary_channels", RegionConfig.primary_channels)
    if primary not in (0, channels):
        raise InputError(f"region.primary_channels is {primary}, wanted 0, or {channels}, as the base's map has.")


def build_projector(inputs: int, outputs: int, layers: int = 2, hidden_size: int | None = None) -> nn.Module:
    """`layers` linear layers with GELU between them (0: the identity), hidden width as the output's if not given."""
    widths = [inputs] + [hidden_size or outputs] * (layers - 1) + [outputs]
    modules: list[nn.Module] = []
    for i in range(layers):
        modules += [nn.GELU()] * (i > 0) + [nn.Linear(widths[i], widths[i + 1])]
    return nn.Sequential(*modules) if modules else nn.Identity()


def build_heads(
    heads: dict[str, Any], width: int, levels: Sequence[Level]
) -> tuple[nn.Module | None, nn.Module | None, nn.Module | None]:
    """Match, IoU and proposal head, each None when the config does not name it.

    Args:
        heads: constructor arguments by head; the proposal head's `levels` lists the auxiliary maps that it reads.
        width: d, of the language model.
        levels: the auxiliary tower's.
    """
    match = iou = proposal = None
    if "match" in heads:
        from fo1agent.model.heads import MatchHead

        match = MatchHead(hidden_size=width, **heads["match"])
    if "iou" in heads:
        from fo1agent.model.heads import IoUHead

        iou = IoUHead(hidden_size=width, **heads["iou"])
    if "proposal" in heads:
        from fo1agent.model.proposal_head import ProposalHead, ProposalHeadConfig

        settings = dict(heads["proposal"])
        read = [levels[i] for i in settings.pop("levels")]
        proposal = ProposalHead(
            ProposalHeadConfig(
                channels=tuple(level.channels for level in read),
                strides=tuple(level.stride for level in read),
                offsets=tuple(level.offset for level in read),
                **settings,
            )
        )
    return match, iou, proposal
