"""MobileNetV2-SSDLite as auxiliary tower: four feature maps for region tokens, and the detector's own candidates.

One convolutional pass gives maps at strides 4, 8, 16 and 32 (what the region encoder pools, beside the shrunk pixels)
and, from six predictor levels, candidate boxes with a class logit for each of the 80 COCO names (what proposals and
region evidence use). The picture is looked at in several `View`s: a large one for small things, and small ones, where
the detector is at home, straight and mirrored, because the mean of what they say is worth more than any one of them.
All batch norms are folded into the convolutions, and padding follows TensorFlow's SAME rule, which at stride 2 depends
on the parity of the input; a view's sides are therefore 44 mod 64, for which every stage has the parities it was
trained with. Cell 0's receptive field is then centred at the pixel in `LEVELS`.

It does not know what the 80 names are called, and it never sees the language model.

Source: MobileNetV2 (arXiv 1801.04381), SSD (arXiv 1512.02325); weights convert with `convert_tensorflow`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fo1agent.model.views import (
    LEVELS,
    NUM_CLASSES,
    PIXELS,
    VIEWS,
    Candidates,
    View,
    anchor_boxes,
    as_views,
)
from fo1agent.model.views import prepare as views_of

# (expansion, output channels, stride) of the 17 inverted-residual blocks.
BLOCKS = (
    [(1, 16, 1)]
    + [(6, 24, 2)] + [(6, 24, 1)]
    + [(6, 32, 2)] + [(6, 32, 1)] * 2
    + [(6, 64, 2)] + [(6, 64, 1)] * 3
    + [(6, 96, 1)] * 3
    + [(6, 160, 2)] + [(6, 160, 1)] * 2
    + [(6, 320, 1)]
)  # fmt: skip
EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))
PREDICTOR_CHANNELS = (576, 1280, 512, 256, 256, 128)
ANCHORS_PER_CELL = (3, 6, 6, 6, 6, 6)

# COCO numbers its 80 names 1..90 with gaps; position k of this tuple is the id of name k.
_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_IDS = tuple(i for i in range(1, 91) if i not in _GAPS)


class SameConv(nn.Module):
    """Convolution with TensorFlow's SAME padding, bias, and ReLU6 unless `linear`."""

    def __init__(self, cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, groups=groups)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        if stride == 1:
            x = F.conv2d(x, self.conv.weight, self.conv.bias, padding=kernel // 2, groups=self.conv.groups)
        else:
            height, width = x.shape[-2:]
            x = self.conv(F.pad(x, (*same_padding(width), *same_padding(height))))
        return x if self.linear else F.hardtanh(x, 0.0, 6.0, inplace=not torch.is_grad_enabled())


def same_padding(size: int) -> tuple[int, int]:
    """TensorFlow's SAME padding before and after `size` cells, of a kernel of 3 at stride 2.

    Written so that an exporter, to which sizes are numbers of the graph, follows it: it would freeze `math.ceil`.
    """
    return size % 2, 1


class InvertedResidual(nn.Module):
    """Expand 1x1, depth-wise 3x3, project 1x1; a skip where shapes agree."""

    def __init__(self, cin: int, expansion: int, cout: int, stride: int) -> None:
        super().__init__()
        width = cin * expansion
        self.expand = SameConv(cin, width) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(width, width, 3, stride, groups=width)
        self.project = SameConv(width, cout, linear=True)
        self.skip = stride == 1 and cin == cout

    def forward(self, x: Tensor, expanded: Tensor | None = None) -> Tensor:
        """Pass `expanded = self.expand(x)` if you have it already."""
        y = self.project(self.depthwise(self.expand(x) if expanded is None else expanded))
        return x + y if self.skip else y


class Predictor(nn.Module):
    """One SSDLite predictor level: separable convolutions to box codes and class logits."""

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        self.box_depthwise = SameConv(channels, channels, 3, groups=channels)
        self.box = nn.Conv2d(channels, anchors * 4, 1)
        self.class_depthwise = SameConv(channels, channels, 3, groups=channels)
        self.classes = nn.Conv2d(channels, anchors * NUM_CLASSES, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[1, C, h, w] → box codes [h*w*anchors, 4] and logits [h*w*anchors, 80], raster order, anchors innermost."""
        codes = self.box(self.box_depthwise(x)).permute(0, 2, 3, 1).reshape(-1, 4)
        logits = self.classes(self.class_depthwise(x)).permute(0, 2, 3, 1).reshape(-1, NUM_CLASSES)
        return codes, logits


class MobileNetV2SSD(nn.Module):
    """The tower. `maps` is the backbone alone; `forward` adds the detector's candidates.

    Args:
        views: how it looks at a picture, `View`s or their fields; the maps are those of the first, which is straight.

    Raises:
        CheckpointError: no view, a mirrored first one, or a side that the padding does not fit.
    """

    levels = (*LEVELS, PIXELS)
    detects = True
    tail = ()

    def __init__(self, views: Sequence[View | Mapping[str, Any]] = VIEWS) -> None:
        super().__init__()
        self.views = as_views(views)
        self.stem = SameConv(3, 32, 3, 2)
        widths = [32, *(cout for _, cout, _ in BLOCKS)]
        self.blocks = nn.ModuleList(
            InvertedResidual(cin, t, cout, s) for cin, (t, cout, s) in zip(widths, BLOCKS, strict=False)
        )
        self.top = SameConv(320, 1280)
        cins = [1280, *(cout for _, cout in EXTRAS)]
        self.extras = nn.ModuleList(
            nn.Sequential(SameConv(cin, mid), SameConv(mid, mid, 3, 2, groups=mid), SameConv(mid, cout))
            for cin, (mid, cout) in zip(cins, EXTRAS, strict=False)
        )
        self.predictors = nn.ModuleList(
            Predictor(c, a) for c, a in zip(PREDICTOR_CHANNELS, ANCHORS_PER_CELL, strict=True)
        )

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """[1, 3, H, W] in -1..1 → the four maps of `LEVELS`, each [1, C, h, w]."""
        x = self.stem(pixels)
        maps: list[Tensor] = []
        for k, block in enumerate(self.blocks):
            if k == 13:  # SSD reads the expanded activation of block 13, before its stride
                expanded = block.get_submodule("expand")(x)
                maps.append(expanded)
                x = block(x, expanded)
                continue
            x = block(x)
            if k in (2, 5):
                maps.append(x)
        return [*maps, self.top(x)]

    def detect(self, maps: Sequence[Tensor], size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Candidates of one view.

        Args:
            maps: what `maps` returned for that view.
            size_hw: the view's height and width, pixels.

        Returns:
            boxes [A, 4] in fractions of the view, clipped; class logits [A, 80].
        """
        codes, logits, grids = self.read(maps)
        return decode(codes, torch.from_numpy(anchor_boxes(grids, size_hw)).to(maps[0])), logits

    def read(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, tuple[tuple[int, int], ...]]:
        """What the predictors say of a view's `maps`: box codes [A, 4], class logits [A, 80], grid (h, w) by level."""
        features = [maps[2], maps[3]]
        for extra in self.extras:
            features.append(extra(features[-1]))
        codes, logits = zip(*(p(f) for p, f in zip(self.predictors, features, strict=True)), strict=True)
        return torch.cat(codes), torch.cat(logits), tuple((f.shape[-2], f.shape[-1]) for f in features)

    def forward(self, views: Mapping[str, Tensor]) -> tuple[list[Tensor], Candidates]:
        """`prepare`'s views → maps of the main view, one per level, and candidates of all views, main first."""
        maps, boxes, logits = None, [], []
        for view, pixels in zip(self.views, views.values(), strict=True):
            own = self.maps(pixels)
            found, said = self.detect(own, _size_hw(pixels))
            boxes.append(mirror(found) if view.mirrored else found)
            logits.append(said)
            maps = [*own, F.avg_pool2d(pixels, int(PIXELS.stride))] if maps is None else maps
        assert maps is not None  # there is a view
        return maps, Candidates(tuple(boxes), tuple(logits))


def mirror(boxes: Tensor) -> Tensor:
    """Boxes [A, 4], xyxy in fractions, in the picture with left and right swapped."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([1 - x2, y1, 1 - x1, y2], dim=-1)


def _size_hw(pixels: Tensor) -> tuple[int, int]:
    return pixels.shape[-2], pixels.shape[-1]


def prepare(image: Any, views: Sequence[View | Mapping[str, Any]] = VIEWS) -> dict[str, Tensor]:
    """`views.prepare` as tensors [1, 3, H, W], channels last: a third faster through the backbone on a CPU."""
    return {name: torch.from_numpy(pixels).permute(0, 3, 1, 2) for name, pixels in views_of(image, views).items()}


def decode(codes: Tensor, anchors_cxcywh: Tensor) -> Tensor:
    """SSD box codes (ty, tx, th, tw; variances 10, 10, 5, 5) on anchors → xyxy fractions, clipped. Both [A, 4]."""
    ty, tx, th, tw = (codes / codes.new_tensor([10.0, 10.0, 5.0, 5.0])).unbind(-1)
    cx, cy, w, h = anchors_cxcywh.unbind(-1)
    cx, cy, w, h = cx + tx * w, cy + ty * h, w * tw.exp(), h * th.exp()
    return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], dim=-1).clamp(0, 1)


def convert_tensorflow(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of `MobileNetV2SSD` from the TensorFlow zoo's `ssdlite_mobilenet_v2_coco`, batch norms folded.

    Kernels there are HWIO (depth-wise HWC1). Of the 91 class outputs, background and the ten unused COCO ids are cut.
    """
    out: dict[str, Tensor] = {}
    root = "FeatureExtractor/MobilenetV2/"

    def put(target: str, source: str) -> None:
        bias = tensors[f"{source}/BatchNorm/batchnorm/sub"].float()
        if f"{source}/depthwise_weights" in tensors:
            kernel = tensors[f"{source}/depthwise_weights"].float().permute(2, 3, 0, 1)
            kernel = kernel * tensors[f"{source}/BatchNorm/batchnorm/mul"].float().view(-1, 1, 1, 1)
        else:
            kernel = tensors[f"{source}/Conv2D/merged_input"].float().permute(3, 2, 0, 1)
        out[f"{target}.conv.weight"], out[f"{target}.conv.bias"] = kernel.contiguous(), bias.clone()

    def put_predictor_depthwise(target: str, source: str) -> None:
        gamma, beta, mean, variance = (
            tensors[f"{source}/BatchNorm/{name}"].float()
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / torch.sqrt(variance + 1e-3)
        kernel = tensors[f"{source}/depthwise_weights"].float().permute(2, 3, 0, 1)
        out[f"{target}.conv.weight"] = (kernel * scale.view(-1, 1, 1, 1)).contiguous()
        out[f"{target}.conv.bias"] = beta - mean * scale

    put("stem", root + "Conv")
    for k in range(len(BLOCKS)):
        source = root + ("expanded_conv" if k == 0 else f"expanded_conv_{k}")
        if k:
            put(f"blocks.{k}.expand", f"{source}/expand")
        put(f"blocks.{k}.depthwise", f"{source}/depthwise")
        put(f"blocks.{k}.project", f"{source}/project")
    put("top", root + "Conv_1")
    for k, (mid, cout) in enumerate(EXTRAS):
        put(f"extras.{k}.0", f"{root}layer_19_1_Conv2d_{k + 2}_1x1_{mid}")
        put(f"extras.{k}.1", f"{root}layer_19_2_Conv2d_{k + 2}_3x3_s2_{cout}_depthwise")
        put(f"extras.{k}.2", f"{root}layer_19_2_Conv2d_{k + 2}_3x3_s2_{cout}")
    kept = torch.tensor(COCO_IDS)
    for k, anchors in enumerate(ANCHORS_PER_CELL):
        source = f"BoxPredictor_{k}/"
        put_predictor_depthwise(f"predictors.{k}.box_depthwise", source + "BoxEncodingPredictor_depthwise")
        put_predictor_depthwise(f"predictors.{k}.class_depthwise", source + "ClassPredictor_depthwise")
        weight = tensors[source + "BoxEncodingPredictor/weights"].float().permute(3, 2, 0, 1)
        out[f"predictors.{k}.box.weight"] = weight.contiguous()
        out[f"predictors.{k}.box.bias"] = tensors[source + "BoxEncodingPredictor/biases"].float().clone()
        weight = tensors[source + "ClassPredictor/weights"].float().permute(3, 2, 0, 1)
        rows = (torch.arange(anchors)[:, None] * 91 + kept).flatten()
        out[f"predictors.{k}.classes.weight"] = weight[rows].contiguous()
        out[f"predictors.{k}.classes.bias"] = tensors[source + "ClassPredictor/biases"].float()[rows].clone()
    return out
