"""Parity: does our FO1 equal the reference on a folder of golden tensors?

The folder holds a checkpoint in the public layout, pictures, `cases.json` and one safetensors file per case. Each case
runs from picture to generated ids with nothing but our own code, and again from golden tensors half-way, so that one
part's rounding does not hide another part's mistake. Every stored tensor is compared or listed as not compared.

Tolerances are those of the golden tensors' own description. DaViT's channel attention amplifies rounding on random
weights, so a case with a long side above 640 pixels, or one that misses DaViT's absolute limit, is held to relative
root mean squares there and downstream of it. The golden tensors are float32, and so is the model unless it is asked to
compute in float64: a difference that shrinks with it was our rounding, one that stays is the reference's rounding, or
wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fo1agent.errors import DataError
from fo1agent.evaluate.files import read_json
from fo1agent.model import public, weights
from fo1agent.model.bases.hooks import recorded
from fo1agent.model.bases.qwen2_5_vl import ADAPTER
from fo1agent.model.fo1 import FO1, ImageFeatures
from fo1agent.model.frames import ImageInputs, PictureTokens
from fo1agent.model.generation import Generated, greedy
from fo1agent.model.processing import FO1Processor
from fo1agent.model.region_encoder import TowerFeatures
from fo1agent.model.sequence import IGNORED, IMAGE_SLOT, REGION_SLOT, Sample, TokenBatch
from fo1agent.model.tensors import dtype_name

PIXELS, BOXES, VIT, FPN, DAVIT = 1e-6, 5e-4, 1e-4, 1e-4, 1e-3
HFRE_FROM_MAPS, HFRE, TOKENS = 1e-5, 1e-3, 5e-4
LOGITS, LOGITS_ROUNDED, LOGITS_FROM_TOKENS = 2e-3, 2e-2, 1e-4
LOSS, GRADIENT, RELATIVE_RMS = 1e-4, 1e-3, 5e-3
LONG_SIDE = 640  # pixels; up to here the limits are absolute
SAFE_MARGIN = 5e-3  # top-1 minus top-2 logit from which a greedy step is compared


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        case, name: of the tensor; `x <- y` means computed from golden y.
        difference: largest absolute difference, relative to the tensor's largest value where `unit` says so.
        relative_rms: root mean square of the difference over that of the golden tensor.
        limit: what `unit` must not exceed.
        unit: `max`, `relative rms`, `relative max`, or `exact`.
        ok: the verdict.
        note: a word on what was compared, or why it failed.
    """

    case: str
    name: str
    difference: float
    relative_rms: float
    limit: float
    unit: str
    ok: bool
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a difference that is not a number is None."""
        figures = {k: v if np.isfinite(v := getattr(self, k)) else None for k in ("difference", "relative_rms")}
        return {**vars(self), **figures}


@dataclass
class ParityReport:
    """Every comparison of a folder.

    Attributes:
        folder: what was compared.
        rows: in the order of the cases.
        dtype: what the model computed in, `float32` or `float64`.
        seconds: wall time.
        not_compared: `case: tensor` of stored tensors that nothing was compared with.
    """

    folder: str
    rows: list[Row] = field(default_factory=list)
    dtype: str = "float32"
    seconds: float = 0.0
    not_compared: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there was something to compare, and all of it agreed."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Verdict, rows and seconds for JSON."""
        return {
            "ok": self.ok,
            "folder": self.folder,
            "dtype": self.dtype,
            "seconds": round(self.seconds, 2),
            "rows": [row.to_dict() for row in self.rows],
            "not_compared": self.not_compared,
        }

    def __str__(self) -> str:
        head = f"{'case':<22} {'tensor':<34} {'max diff':>9} {'rel rms':>9}  {'tolerance':<20} verdict"
        lines = [head]
        for row in self.rows:
            tolerance = "exact" if row.unit == "exact" else f"{row.unit} {row.limit:.0e}"
            verdict = ("ok" if row.ok else "DIFFERS") + (f" ({row.note})" if row.note else "")
            figures = f"{row.difference:>9.1e} {row.relative_rms:>9.1e}"
            lines.append(f"{row.case:<22} {row.name:<34} {figures}  {tolerance:<20} {verdict}")
        lines += [f"not compared: {name}" for name in self.not_compared]
        failed = sum(not row.ok for row in self.rows)
        lines.append(f"{len(self.rows)} comparisons, {failed} differ, {self.dtype}, {self.seconds:.1f} s")
        return "\n".join(lines)


def run(folder: str | Path, double: bool = False) -> ParityReport:
    """Compare with every case of a folder.

    Args:
        folder: with the checkpoint and the cases.
        double: compute in float64 instead of float32, from the same stored weights and tensors. Where a box reads from
            a map stays float32, for there a sample on the border counts or not by the last bit.

    Raises:
        DataError: a file of the folder is missing or malformed.
        CheckpointError: the checkpoint does not load.
    """
    folder, start = Path(folder), time.perf_counter()
    dtype = torch.float64 if double else torch.float32
    report = ParityReport(str(folder), dtype=dtype_name(dtype))
    cases = _cases(folder)
    model, processor = weights.load(folder / "checkpoint", dtype)
    rounded: dict[str, bool] = {}
    for name, case in cases.items():
        golden = _Golden(name, _tensors(folder, case, dtype), report)
        if "members" in case:
            _Batch(folder, model, processor, case, cases, golden).compare(any(rounded.get(m) for m in case["members"]))
        else:
            with torch.inference_mode():
                rounded[name] = _Single(folder, model, processor, case, cases, golden).compare()
        golden.finish()
    report.seconds = time.perf_counter() - start
    return report


class _Golden:
    """The stored tensors of one case, and the rows that comparing with them gives."""

    def __init__(self, case: str, tensors: Mapping[str, Tensor], report: ParityReport) -> None:
        self.case, self.tensors, self.report = case, tensors, report
        self.compared: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def close(self, name: str, got: Tensor, limit: float, unit: str = "max", source: str = "", note: str = "") -> bool:
        """Compare with a stored tensor, if it is stored; True when it agrees or is not there."""
        if name not in self.tensors:
            return True
        wanted = self.tensors[name]
        self.compared.add(name)
        label = f"{name} <- {source}" if source else name
        if got.shape != wanted.shape:
            note = f"shape {list(got.shape)}, wanted {list(wanted.shape)}"
            return self._add(Row(self.case, label, float("nan"), float("nan"), limit, unit, False, note))
        got, wanted = got.detach().double(), wanted.double()
        error = (got - wanted).abs()
        largest = float(error.max()) if error.numel() else 0.0
        relative = float(error.norm() / wanted.norm().clamp(min=1e-12))
        if unit == "relative max":
            largest /= max(float(wanted.abs().max()), 1e-12)
        measured = relative if unit == "relative rms" else largest
        # Not a number is not close.
        return self._add(Row(self.case, label, largest, relative, limit, unit, measured <= limit, note))

    def exact(self, name: str, got: Tensor, source: str = "", note: str = "") -> bool:
        """Compare integers."""
        return self.close(name, got, 0.0, "exact", source, note)

    def number(self, name: str, got: float, wanted: float, limit: float, unit: str) -> bool:
        """Compare one number of `cases.json`."""
        difference = abs(got - wanted) / (abs(wanted) if unit == "relative max" else 1.0)
        return self._add(Row(self.case, name, difference, difference, limit, unit, difference <= limit))

    def finish(self) -> None:
        """List what nothing was compared with."""
        self.report.not_compared += [f"{self.case}: {name}" for name in sorted(self.tensors.keys() - self.compared)]

    def _add(self, row: Row) -> bool:
        self.report.rows.append(row)
        return row.ok


class _Single:
    """One picture, its boxes and one question."""

    def __init__(
        self, folder: Path, model: FO1, processor: FO1Processor, case: dict, cases: Mapping[str, dict], golden: _Golden
    ) -> None:
        self.model, self.processor, self.case, self.golden = model, processor, case, golden
        self.boxes = torch.tensor(case.get("boxes", []), dtype=torch.float64).reshape(-1, 4)
        self.image = _image(folder, case, cases)

    def compare(self) -> bool:
        """All rows of the case; returns whether it is held to the limits for amplified rounding."""
        model, golden = self.model, self.golden
        inputs = self.processor.image(self.image)
        ids = self.processor.prompt_ids([len(self.boxes)], self.case["text"])
        self._inputs(inputs, ids)
        features = self._primary(inputs)
        rounded = self._davit(features)
        unit, scale = ("relative rms", RELATIVE_RMS) if rounded else ("max", 0.0)
        tokens = None
        if len(self.boxes):
            vectors, tokens = model.encode_regions(features, self.boxes)
            golden.close("region.hfre", vectors, scale or HFRE, unit)
            golden.close("region.tokens", tokens, scale or TOKENS, unit)
            self._from_maps()
        batch = model.assemble([Sample(ids, [features.picture], tokens)])
        golden.exact("position_ids", batch.position_ids)
        golden.exact("rope_delta", batch.next_position[:, None] - batch.mask.sum(1, keepdim=True))
        # Without regions DaViT plays no part.
        limit = LOGITS_FROM_TOKENS if tokens is None else LOGITS_ROUNDED if rounded else LOGITS
        golden.close("logits", model(batch).logits[0], limit)
        self._generate(ids, features.picture, tokens, "")
        self._from_tokens(ids, features)
        return rounded

    def _inputs(self, inputs: ImageInputs, ids: Tensor) -> None:
        golden, sizes = self.golden, inputs.sizes
        golden.exact("input_ids", ids)
        golden.exact("image_grid_thw", torch.tensor([[1, *inputs.grid_hw]]))
        golden.close("pixel_values", inputs.pixel_values, PIXELS)
        golden.close("pixel_values_aux", inputs.aux_views["main"][0], PIXELS)
        golden.close("boxes_in_aux_pixels", torch.from_numpy(sizes.to_aux(self.boxes)), BOXES)
        golden.close("boxes_in_vit_pixels", torch.from_numpy(sizes.to_primary(self.boxes)), BOXES)

    def _primary(self, inputs: ImageInputs) -> ImageFeatures:
        model, golden = self.model, self.golden
        first = min(model.config.base_config.vision_config.fullatt_block_indexes)
        tower: Any = model.adapter.vision_tower(model.base)
        with recorded(tower.blocks[first]) as seen:
            features = model.encode_image(inputs)
        golden.close("primary.merged", features.image_tokens, VIT)
        golden.close("primary.map_first", ADAPTER.raster(seen[0], inputs.grid_hw, model.config.base_config), VIT)
        if features.primary_map is not None:
            golden.close("primary.map_last", features.primary_map, VIT)
            for level, fpn in enumerate(model.region_encoder.simple_fpn(features.primary_map)):  # pyright: ignore[reportOptionalCall]
                golden.close(f"fpn.level{level}", fpn, FPN)
        return features

    def _davit(self, features: ImageFeatures) -> bool:
        """Compare the stages; True when absolute limits do not apply."""
        golden = self.golden
        rounded = max(self.image.size) > LONG_SIDE
        for stage, got in enumerate(features.aux_maps):
            name = f"aux.stage{stage}"
            if name in golden and got.shape == golden[name].shape:
                rounded = rounded or float((got - golden[name]).abs().max()) > DAVIT
        for stage, got in enumerate(features.aux_maps):
            if rounded:
                golden.close(f"aux.stage{stage}", got, RELATIVE_RMS, "relative rms")
            else:
                golden.close(f"aux.stage{stage}", got, DAVIT)
        return rounded

    def _from_maps(self) -> None:
        """HFRE and projector from golden maps, where all of them are stored."""
        model, golden = self.model, self.golden
        stages = [f"aux.stage{i}" for i in range(len(model.aux.levels))]
        primary_map, boxes = "primary.map_last", ["boxes_in_aux_pixels", "boxes_in_vit_pixels"]
        if all(name in golden for name in [*stages, primary_map, *boxes]):
            _, h, w = golden["image_grid_thw"][0].tolist()
            patch = model.config.base_config.vision_config.patch_size
            # The auxiliary size is only used where boxes are enlarged, which the reference never does.
            aux = TowerFeatures([golden[name] for name in stages], (0.0, 0.0))
            primary = TowerFeatures([golden[primary_map]], (w * patch, h * patch))
            got = model.region_encoder(aux, golden[boxes[0]], primary, golden[boxes[1]])
            golden.close("region.hfre", got, HFRE_FROM_MAPS, source="maps")
        if "region.hfre" in golden:
            golden.close("region.tokens", model.project_regions(golden["region.hfre"]), HFRE_FROM_MAPS, source="hfre")

    def _from_tokens(self, ids: Tensor, features: ImageFeatures) -> None:
        """The language model from golden image and region tokens."""
        golden = self.golden
        if "primary.merged" not in golden or (len(self.boxes) and "region.tokens" not in golden):
            return
        regions = golden["region.tokens"] if len(self.boxes) else None
        picture = replace(features.picture, tokens=golden["primary.merged"])
        batch = self.model.assemble([Sample(ids, [picture], regions)])
        golden.close("inputs_embeds", batch.inputs_embeds, PIXELS, source="tokens")
        golden.close("logits", self.model(batch).logits[0], LOGITS_FROM_TOKENS, source="tokens")
        self._generate(ids, picture, regions, "tokens")

    def _generate(self, ids: Tensor, picture: PictureTokens, regions: Tensor | None, source: str) -> None:
        """Greedy ids on the steps whose margin is safe, and from golden tokens their logits."""
        golden = self.golden
        if "generated_ids" not in golden:
            return
        wanted = golden["generated_ids"]
        got = _greedy(self.model, self.processor, ids, picture, regions, len(wanted))
        assert got.logits is not None
        stored = golden.tensors.get("generated_logits", got.logits)
        safe = min(self.case.get("greedy_safe_steps", _safe_steps(stored)), len(wanted))
        same = _Golden(golden.case, {"generated_ids": wanted[:safe]}, golden.report)
        golden.compared.add("generated_ids")
        agree = same.exact("generated_ids", got.ids[:safe], source, note=f"{safe} of {len(wanted)} steps are safe")
        if source and agree and "generated_logits" in golden:
            golden.compared.add("generated_logits")
            # Later steps follow other ids as soon as one unsafe step goes the other way.
            steps = _Golden(golden.case, {"generated_logits": stored[:safe]}, golden.report)
            steps.close("generated_logits", got.logits[:safe], LOGITS_FROM_TOKENS, source=source)


class _Batch:
    """Several prompts with answers in one padded batch: loss, logits and gradients."""

    def __init__(
        self, folder: Path, model: FO1, processor: FO1Processor, case: dict, cases: Mapping[str, dict], golden: _Golden
    ) -> None:
        self.folder, self.model, self.processor, self.golden = folder, model, processor, golden
        self.case, self.cases, self.members = case, cases, [cases[member] for member in case["members"]]

    def compare(self, rounded: bool) -> None:
        model, golden = self.model, self.golden
        samples, images = [], []
        for member in self.members:
            inputs = self.processor.image(_image(self.folder, member, self.cases))
            boxes = torch.tensor(member.get("boxes", []), dtype=torch.float64).reshape(-1, 4)
            golden.close(f"boxes{len(samples)}", torch.from_numpy(inputs.sizes.to_aux(boxes)), BOXES)
            images.append((inputs, boxes))
            samples.append(self._sample(member, len(boxes)))
        self._ids(samples)
        model.zero_grad(set_to_none=True)
        for sample, (inputs, boxes) in zip(samples, images, strict=True):
            features = model.encode_image(inputs)
            sample.pictures = [features.picture]
            sample.region_tokens = model.encode_regions(features, boxes)[1]
        batch = model.assemble(samples)
        golden.exact("position_ids", batch.position_ids)
        if batch.labels is not None:
            golden.exact("expanded_labels", batch.labels)
        self._outputs(batch, LOGITS_ROUNDED if rounded else LOGITS, "").backward()
        self._gradients()
        model.zero_grad(set_to_none=True)
        with torch.inference_mode():
            self._from_tokens(samples)

    def _sample(self, member: dict, regions: int) -> Sample:
        prompt = self.processor.prompt_ids([regions], member["text"])
        answer = self.processor.text_ids(self.case["answer"])
        return Sample(torch.cat([prompt, answer]), labels=torch.cat([torch.full_like(prompt, IGNORED), answer]))

    def _ids(self, samples: Sequence[Sample]) -> None:
        """Un-expanded ids, labels and mask; padding ids are the reference's own affair."""
        golden = self.golden

        def padded(rows: Iterable[Tensor], value: int) -> Tensor:
            return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)

        mask = padded((torch.ones_like(s.input_ids) for s in samples), 0)
        golden.exact("attention_mask", mask)
        ids = padded((s.input_ids for s in samples), 0)
        if "input_ids" in golden and golden["input_ids"].shape == ids.shape:
            ids = torch.where(mask.bool(), ids, golden["input_ids"])
        golden.exact("input_ids", ids)
        golden.exact("labels", padded((s.labels for s in samples if s.labels is not None), IGNORED))

    def _outputs(self, batch: TokenBatch, limit: float, source: str) -> Tensor:
        """Compare loss and logits; returns the loss."""
        golden = self.golden
        output = self.model(batch)
        assert output.loss is not None
        golden.close("loss", output.loss[None], LOSS, source=source)
        if "logits" in golden and golden["logits"].shape == output.logits.shape:
            # Logits at padded positions mean nothing.
            kept = batch.mask[..., None]
            logits = torch.where(kept, output.logits, golden["logits"])
            golden.close("logits", logits, limit, source=source)
        else:
            golden.close("logits", output.logits, limit, source=source)
        return output.loss

    def _gradients(self) -> None:
        gradients = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        for name in [key for key in self.golden.tensors if key.startswith("grad.")]:
            got = gradients.get(public.rename(name.removeprefix("grad.")), torch.zeros(0))
            self.golden.close(name, got, GRADIENT, "relative max")
        if "params_with_grad" in self.case:
            self.golden.number("params_with_grad", len(gradients), self.case["params_with_grad"], 0.0, "exact")
        if "grad_total_norm" in self.case:
            total = float(torch.stack([g.double().norm() for g in gradients.values()]).norm())
            self.golden.number("grad_total_norm", total, self.case["grad_total_norm"], GRADIENT, "relative max")

    def _from_tokens(self, samples: Sequence[Sample]) -> None:
        """The same loss and logits from the members' golden tokens, where those are stored."""
        for sample, member in zip(samples, self.members, strict=True):
            stored = _tensors(self.folder, member, self.model.dtype)
            if not {"primary.merged", "region.tokens"} <= stored.keys():
                return
            sample.pictures = [replace(sample.pictures[0], tokens=stored["primary.merged"])]
            sample.region_tokens = stored["region.tokens"]
        self._outputs(self.model.assemble(samples), LOGITS_FROM_TOKENS, "tokens")


def _greedy(
    model: FO1,
    processor: FO1Processor,
    ids: Tensor,
    picture: PictureTokens,
    regions: Tensor | None,
    steps: int,
) -> Generated:
    """Generate as a scene does: prefix up to the last slot (and what closes a picture), then the question."""
    slots = ((ids == IMAGE_SLOT) | (ids == REGION_SLOT)).nonzero()
    cut = int(slots[-1]) + 1
    prefix = model.prefill(Sample(ids[:cut], [picture], regions))
    return greedy(model, prefix, ids[cut:], {processor.stop_id}, steps, keep_logits=True)


def _safe_steps(logits: Tensor) -> int:
    """Steps before the first one whose margin is too small to be compared."""
    top = logits.topk(2, dim=-1).values
    unsafe = (top[:, 0] - top[:, 1] < SAFE_MARGIN).nonzero()
    return int(unsafe[0]) if len(unsafe) else len(logits)


# --- the folder --------------------------------------------------------------------------------------------------


def _cases(folder: Path) -> dict[str, dict]:
    """Case records by name, batches last: they are judged by their members' rounding."""
    path = folder / "cases.json"
    try:
        named = {case["name"]: case for case in read_json(path)}
    except (TypeError, KeyError) as exc:
        raise DataError(f"{path} is no list of cases with names: {exc!r}") from exc
    for case in named.values():
        unknown = [member for member in case.get("members", []) if member not in named]
        if unknown:
            raise DataError(f"{path}: case {case['name']} names the members {', '.join(unknown)}, which are not there.")
    return dict(sorted(named.items(), key=lambda item: "members" in item[1]))


def _tensors(folder: Path, case: dict, dtype: torch.dtype) -> dict[str, Tensor]:
    """The golden tensors of a case; numbers with a point as the model computes with them."""
    path = folder / case.get("tensors", f"cases/{case['name']}.safetensors")
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as exc:
        raise DataError(f"Cannot read the golden tensors {path}: {exc}") from exc
    return {name: one.to(dtype) if one.is_floating_point() else one for name, one in stored.items()}


def _image(folder: Path, case: dict, cases: Mapping[str, dict]) -> Image.Image:
    """The case's picture; a case that names none uses that of the case its own name ends with."""
    if "image" not in case:
        others = [other for name, other in cases.items() if "image" in other and case["name"].endswith(name)]
        if not others:
            raise DataError(f"Case {case['name']} names no image, and no other case lends it one.")
        case = others[0]
    path = folder / case["image"]
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as exc:
        raise DataError(f"Cannot read the picture {path}: {exc}") from exc
