"""Loads a model: its weights, what makes its boxes, and what reads its text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fo1agent.engines import checked_engine, is_address
from fo1agent.errors import CheckpointError, InputError
from fo1agent.extras import check_vllm, torch_needed
from fo1agent.pictures.image import LoadedImage
from fo1agent.pictures.ocr import OCR, read_lines
from fo1agent.presets import Choice, choose
from fo1agent.proposals import resolve_finder, resolve_proposer
from fo1agent.proposals.base import Finder
from fo1agent.proposals.trust import Trust
from fo1agent.regions.regions import Regions
from fo1agent.scene import Model, Predictor, Reader
from fo1agent.segmenters import resolve_segmenter

DTYPES = ("auto", "float32", "bfloat16", "float16")
# What engines can be asked for that take less than torch does; None: anything. What a server computes with, it knows.
_PLAIN = {"attn": (None,), "quantize": (None,), "pack": (False,)}
_ONNX = {"device": ("cpu",), "dtype": (None, "auto", "float32"), **_PLAIN, "compile": (False,)}
_VLLM = {"device": None, "dtype": None, **_PLAIN, "compile": None}
_SERVER = {"device": ("cpu",), "dtype": (None, "auto"), **_PLAIN, "compile": (False,)}


def load(
    name_or_folder: str | os.PathLike[str] | None = None,
    *,
    device: str = "cpu",
    dtype: str | None = "auto",
    attn: str | None = None,
    quantize: str | None = None,
    compile: bool = False,
    pack: bool = False,
    proposer: str | Callable[[LoadedImage], Regions] | None = None,
    finder: str | Finder | Sequence[str | Finder] | None = (),
    trust: str | os.PathLike[str] | Mapping[str, Trust] | None = None,
    ocr: str | Reader | None = None,
    segmenter: str | os.PathLike[str] | Callable[..., Any] | None = None,
    engine: str = "auto",
    needs_boxes: bool = False,
    tiles: int | str | None = None,
) -> Model:
    """Load a model.

    Args:
        name_or_folder: a folder with weights, which wins; a preset such as `nano` or `vlm-fo1-3b`, alone or with a
            detector, `nano+grounding-dino-tiny` (`fo1agent models` lists them); or the name of a Hugging Face
            repository, such as `omlab/VLM-FO1_Qwen2.5-VL-3B-v01`. None for what the variable FO1AGENT_MODEL names, and
            if that is not set for fo1-nano, which is part of the package.
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `float32`, `bfloat16` or `float16`; `auto` (or None): the type of the stored weights where the device has
            units for it, else float32. `fo1agent doctor` says which units a CPU has.
        attn: how the base model attends: `sdpa`, `eager`, or `flash_attention_2` (its vision tower only); None for
            transformers' choice.
        quantize: linear layers of the base model in 8 bits: `int8`, `int8-weights`; None for none.
        compile: let `torch.compile` make kernels when the model first runs, which takes minutes.
        pack: lay the base model's weights out as a CPU's units for bfloat16 read them: it writes twice as fast, and the
            weights are no longer mapped from disk but in memory.
        proposer: what makes the boxes: a name such as `rt-detr-r18` or `ultralytics:yolo11n.pt` (see
            `proposals.resolve_proposer`), or a callable from picture to regions; None for the model's own proposal
            head. One that reads phrases, such as `grounding-dino-tiny`, is a finder as well, and makes the boxes only
            for a model that makes none.
        finder: detectors that are asked beside the model, each named as a proposer is, or a `proposals.base.Finder`;
            what they say of phrases counts, and what only they see is found as well. With one that takes any words no
            word is unknown.
        trust: what the finders' scores are worth: a file of `fo1agent calibrate`, for those of the finders that it
            holds, or by finder's name, and of the others what their makers advise; None for what was fitted to them
            beside this model before (`proposals.trusted`), else what their makers advise.
        ocr: what reads text: a language such as `ru`, an `OCR`, which takes settings too, or a callable like
            `read_lines`; None for the built-in reader of Chinese, Japanese and Latin script.
        segmenter: what makes masks: a name such as `sam2.1-tiny`, `transformers:facebook/sam2.1-hiera-tiny` or
            `ultralytics:sam2_t.pt`, the folder of a Hugging Face segmenter, or a callable from picture and boxes to
            masks (see `segmenters.resolve_segmenter`); None for no masks.
        engine: what computes: `torch`, everything and on every device; `onnx`, ONNX Runtime on a CPU, for folders with
            the graphs that `fo1agent export` writes, without importing torch; `vllm`, a vLLM in this process, which
            computes on the device that it was built for and answers many questions together; `http://host:8000/v1`, the
            API of a `vllm serve`, where `name_or_folder` is what it calls the model, or the last part of that, None for
            its first; `auto`: onnx for fo1-nano on a CPU, else torch. In vLLM a model makes no boxes: give them, or a
            proposer.
        needs_boxes: no boxes will be given to `Model.open`, so the model or a proposer must make them. If neither does,
            that is told before any weight is read or fetched, instead of when the first picture is opened.
        tiles: look at pictures by overlapping tiles as well as at the whole of them (`model.tiled`): how many of the
            smallest lie along the long side, or `auto`: pictures that are more than twice as large as the model sees
            them, by so many that each is seen pixel by pixel. None: at the whole only.

    Raises:
        CheckpointError: the weights do not exist, or do not fit their configuration; or there are no graphs of them.
        InputError: an unknown device, dtype, attention, quantisation, proposer, finder, language, segmenter or engine,
            an engine that cannot do what is asked, or nothing that makes the boxes which are needed.
        ProposalError: the proposer cannot be loaded.
        EngineError: no vLLM answers at the address, or one without a model.
        SegmentationError: the segmenter cannot be loaded.
        DataError: a calibration is damaged, or of another finder or model.
        MissingExtraError: the engine, the proposer, the reader, the segmenter or the quantisation needs a package that
            is not installed.
    """
    if not (ocr is None or isinstance(ocr, str) or callable(ocr)):
        raise InputError(f'ocr must be a language such as "ru", an OCR or a callable; got a {type(ocr).__name__}.')
    reader = read_lines if ocr is None else OCR(ocr) if isinstance(ocr, str) else ocr
    if dtype not in (None, *DTYPES):
        raise InputError(f"dtype must be {_listed(DTYPES)}, got {dtype!r}.")
    address = is_address(checked_engine(engine))
    _check_kinds(device, {"compile": compile, "pack": pack, "needs_boxes": needs_boxes})
    choice = Choice(None) if address else _choice(name_or_folder)
    folder, (proposer, finders) = choice.model, _detectors(choice, proposer, finder)
    if engine == "vllm":
        _check_vllm(folder)
    boxless = needs_boxes and proposer is None
    if boxless and (address or engine == "vllm"):
        raise _no_proposals("A model in vLLM" if folder is None else folder)
    if folder is not None:
        _check_folder(folder, boxless)
    boxes = None if proposer is None else resolve_proposer(proposer, device=device)  # smaller, and sooner wrong
    found = [resolve_finder(one, device=device) for one in finders]
    segmenter = choice.segmenter.source if segmenter is None and choice.segmenter else segmenter
    masks = None if segmenter is None else resolve_segmenter(segmenter, device=device)
    asked = {"dtype": dtype, "attn": attn, "quantize": quantize, "compile": compile, "pack": pack}
    if address:
        predictor = _server(engine, name_or_folder, device, asked)
    elif engine == "vllm":
        predictor = _vllm(folder, device, asked)
    else:
        predictor = _onnx(folder, engine, device, asked) or _torch(folder, device, asked)
    model = replace(_joined(predictor, boxes, found, trust, reader), segmenter=masks)
    return model if tiles is None else _tiled(model, tiles)


def _each(finder: Any) -> Sequence[Any]:
    """Finders, of which one, or none, needs no list."""
    if finder is None:
        return ()
    several = isinstance(finder, Iterable) and not isinstance(finder, str | os.PathLike)
    return [*finder] if several and not hasattr(finder, "find") else [finder]


def _joined(predictor: Any, boxes: Any, finders: Sequence[Finder], trust: Any, reader: Reader) -> Model:
    """The model with what its detectors say."""
    speaks = hasattr(boxes, "find")
    asked = [boxes, *finders] if speaks else list(finders)
    generic = speaks and boxes.names is None and getattr(boxes, "phrases", None) is None
    if generic and getattr(predictor, "proposes", False):
        boxes = None
    if not asked:
        if isinstance(trust, str | os.PathLike):
            raise InputError(f"trust={os.fspath(trust)!r} is of finders, and none is named: finder=… names one.")
        return Model(predictor, boxes, reader)
    from fo1agent.model.joined import JoinedPredictor
    from fo1agent.proposals import trusted

    if isinstance(trust, Mapping):
        known = dict(trust)
    elif trust is not None:
        known = trusted.read(Path(trust), asked, predictor.fingerprint)
    else:
        known = trusted.kept(asked, predictor.fingerprint)
    return Model(JoinedPredictor(predictor, asked, known), boxes, reader)


def _tiled(model: Model, tiles: int | str) -> Model:
    """The model, looking by tiles."""
    from fo1agent.model.tiled import tiled

    return replace(model, predictor=tiled(model.predictor, tiles, model.proposer))


def _check_kinds(device: Any, flags: Mapping[str, Any]) -> None:
    if not isinstance(device, str):
        raise InputError(f"device must be a name such as cpu or cuda, got {device!r}.")
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise InputError(f"{name} must be True or False, got {value!r}.")


def _choice(given: Any) -> Choice:
    """What a model's name means; a folder's name may come as a path."""
    if given is not None and (not isinstance(given, str | os.PathLike) or not os.fspath(given)):
        raise InputError(f"A model is named by a folder or a repository, or left out for fo1-nano; got {given!r}.")
    return choose(given if given is None else os.fspath(given))


def _detectors(choice: Choice, proposer: Any, finder: Any) -> tuple[Any, list[Any]]:
    """What makes the boxes and what is asked beside the model: what is given, and what the model's name adds.

    A detector of the name makes the boxes unless something else is to; if it only reads phrases, for a model that makes
    none (see `_joined`).
    """
    finders = _each(finder)
    named = [part.source for part in choice.detectors]
    if proposer is None and named:
        proposer, *named = named
    return proposer, [*named, *finders]


def _check_folder(folder: str, boxes: bool) -> None:
    """Refuse a model that is not there, before torch is imported, which takes seconds; and, where it is to find boxes
    by itself, one that by its config.json finds none. No other file is fetched or read."""
    from fo1agent.model.finding import CONFIG, find_folder
    from fo1agent.model.folder import read_json
    from fo1agent.model.stored import proposes

    found, name = find_folder(folder, fetched=[CONFIG])
    if boxes and not proposes(read_json(found / CONFIG), found / CONFIG):
        raise _no_proposals(name)


def _check_vllm(folder: str | None) -> None:
    """Refuse a model that vLLM can never run in this process, and then that there is no vLLM, before all that can be
    mended is told."""
    from fo1agent.model.finding import CONFIG, find_folder
    from fo1agent.model.folder import read_json
    from fo1agent.model.stored import judges_by_match

    if folder is not None and not os.path.isdir(folder):
        check_vllm()  # sooner than anything is fetched
    found, name = find_folder(folder, fetched=[CONFIG])
    if judges_by_match(read_json(found / CONFIG), found / CONFIG):
        raise CheckpointError(
            f"{name} judges regions by a match head, of which vLLM knows nothing. Use engine torch, or give the folder "
            "to `vllm serve` for its words."
        )
    check_vllm()


def _no_proposals(name: str) -> InputError:
    from fo1agent.model.predicting import no_proposals

    return no_proposals(name)


def _onnx(folder: str | None, engine: str, device: str, asked: Mapping[str, Any]) -> Predictor | None:
    """The model with ONNX Runtime, if that is asked for, or if nothing is and it is fo1-nano on a CPU."""
    wrong = _unfit(_ONNX, device, asked)
    if engine == "torch" or (engine == "auto" and (folder is not None or wrong)):
        return None
    if wrong:
        refused = " and no ".join(wrong)
        raise InputError(f"Engine onnx computes on the cpu in float32 and takes no {refused}. Use engine torch.")
    from fo1agent.model.finding import find_folder
    from fo1agent.model.onnx_graphs import has_graphs

    found, name = find_folder(folder)
    if engine == "auto" and not has_graphs(found):
        return None
    from fo1agent.model.onnx_predictor import OnnxPredictor

    return OnnxPredictor(found, name)


def _vllm(folder: str | None, device: str, asked: Mapping[str, Any]) -> Predictor:
    if wrong := _unfit(_VLLM, device, asked):
        raise InputError(f"Engine vllm takes no {' and no '.join(wrong)}. Leave it out, or use engine torch.")
    with torch_needed("Engine vllm"):
        from fo1agent.model.served_here import load_here
    return load_here(folder, asked["dtype"], asked["compile"])


def _server(address: str, name: Any, device: str, asked: Mapping[str, Any]) -> Predictor:
    if wrong := _unfit(_SERVER, device, asked):
        raise InputError(f"A vLLM server runs as it was started: it takes no {' and no '.join(wrong)}.")
    from fo1agent.model.served_there import load_there

    return load_there(address, None if name is None else os.fspath(name))


def _unfit(able: Mapping[str, Sequence[Any] | None], device: str, asked: Mapping[str, Any]) -> list[str]:
    """What is asked for that an engine cannot do, in words."""
    given = {"device": device, **asked}.items()
    return [
        name if value is True else f"{name} {value}"
        for name, value in given
        if (can := able[name]) is not None and value not in can
    ]


def _torch(folder: str | None, device: str, asked: Mapping[str, Any]) -> Predictor:
    with torch_needed("Engine torch"):
        import torch

        from fo1agent.model.predictor import load_predictor

    try:
        torch.empty(0, device=device).cpu()  # which meta, without numbers, cannot
    except (RuntimeError, AssertionError) as exc:  # torch asserts that it was built for the device
        raise InputError(
            f"Cannot compute on device {device!r}: {str(exc).splitlines()[0].rstrip('.')}. Use cpu."
        ) from exc
    return load_predictor(folder, device, **asked)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
