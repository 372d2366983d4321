"""Model folders that are not what they say: how each is spoilt, and what its error must tell.

Both layouts that `weights.load` reads: our own, and the public checkpoint's. A message names the file, the key where
there is one, what was got and what was wanted.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

HUGE = 10**18
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
Spoil = Callable[[Path], object]


@dataclass(frozen=True)
class Spoilt:
    """A folder spoilt by `spoil`; its `CheckpointError` holds all of `says`."""

    what: str
    spoil: Spoil
    says: tuple[str, ...]


def linked_copy(source: Path, target: Path) -> Path:
    """A copy whose files take no room; what is written by this module goes to new files."""
    target.mkdir()
    for file in source.iterdir():
        os.link(file, target / file.name)
    return target


# --- ways to spoil a file ----------------------------------------------------------------------------------------


def put(name: str, content: bytes | str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def absent(*names: str) -> Spoil:
    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return spoil


def instead(name: str, make: Callable[[Path], object]) -> Spoil:
    """What `make` makes at the place of a file."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return spoil


def bound_socket(path: Path) -> None:
    # The name of a socket may have a hundred bytes: made beside, under a short one.
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{here}/s")
    os.close(here)
    (path.parent / "s").rename(path)


def outside(path: Path) -> None:
    secret = path.parent.parent / f"{path.parent.name}-secret"
    secret.write_text("root:x:0:0", encoding="utf-8")
    path.symlink_to(secret)


def cut(name: str, size: int) -> Spoil:
    def spoil(folder: Path) -> None:
        put(name, (folder / name).read_bytes()[:size])(folder)

    return spoil


def edit(name: str, change: Callable[[Any], object]) -> Spoil:
    """Change the JSON of a file."""

    def spoil(folder: Path) -> None:
        tree = json.loads((folder / name).read_text(encoding="utf-8"))
        change(tree)
        put(name, json.dumps(tree))(folder)

    return spoil


def value(path: str, new: Any, name: str = CONFIG) -> Spoil:
    """Set one key of a JSON file, `a.b.c`."""
    *parents, last = path.split(".")

    def change(tree: Any) -> None:
        for key in parents:
            tree = tree[int(key) if isinstance(tree, list) else key]
        tree[int(last) if isinstance(tree, list) else last] = new

    return edit(name, change)


def without(path: str, name: str = CONFIG) -> Spoil:
    *parents, last = path.split(".")

    def change(tree: Any) -> None:
        for key in parents:
            tree = tree[key]
        del tree[last]

    return edit(name, change)


def tensors(change: Callable[[dict[str, torch.Tensor]], object], name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        held = {key: tensor.clone() for key, tensor in load_file(folder / name).items()}
        change(held)
        (folder / name).unlink()
        save_file(held, folder / name)

    return spoil


def header(tree: Mapping[str, Any] | bytes, body: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return struct.pack("<Q", len(text)) + text + body


def fill(key: str, number: float) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(held: dict[str, torch.Tensor]) -> None:
        held[key].view(-1)[held[key].numel() // 2] = number

    return change


class Command:
    """What a pickle may do to whoever opens it."""

    def __reduce__(self) -> Any:
        return os.system, ("touch pickle-was-opened",)


def pickled(folder: Path) -> None:
    absent(WEIGHTS, INDEX, *SHARDS)(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Command()))


def endless(path: Path) -> None:
    """A terabyte that takes no room."""
    path.touch()
    os.truncate(path, 1 << 40)


DEEP = "[" * 100_000
FILE_SPOILS: Mapping[str, tuple[Callable[[str], Spoil], str]] = {
    "is a pipe": (lambda name: instead(name, os.mkfifo), "got a pipe, wanted a regular file"),
    "is a folder": (lambda name: instead(name, os.mkdir), "got a folder, wanted a regular file"),
    "is a socket": (lambda name: instead(name, bound_socket), "got a socket, wanted a regular file"),
    "leads to a device": (
        lambda name: instead(name, lambda path: path.symlink_to("/dev/zero")),
        "got a device, wanted a regular file",
    ),
    "leads to nothing": (lambda name: instead(name, lambda path: path.symlink_to("nowhere")), "There is no"),
    "leads to itself": (lambda name: instead(name, lambda path: path.symlink_to(path.name)), "symbolic links"),
}
LARGE_SPOIL = {"has a terabyte": (lambda name: instead(name, endless), "wanted at most")}
JSON_SPOILS: Mapping[str, tuple[bytes | str, str]] = {
    "is empty": ("", "not JSON"),
    "is no JSON": ("{'a': 1}", "not JSON"),
    "is no UTF-8": (b'{"a": "\xff"}', "not UTF-8"),
    "is nested 100000 deep": (DEEP, "nested too deep"),
    "is a list": ("[1, 2]", "got [1, 2], wanted an object"),
    "is a number": ("3", "got 3, wanted an object"),
    "holds a number of 5000 digits": ('{"a": ' + "9" * 5000 + "}", "not JSON"),
}


def broken_files(name: str, kinds: Mapping[str, tuple[Callable[[str], Spoil], str]] = FILE_SPOILS) -> list[Spoilt]:
    return [Spoilt(f"{name} {how}", make(name), (name, says)) for how, (make, says) in kinds.items()]


def broken_json(name: str) -> list[Spoilt]:
    return [Spoilt(f"{name} {how}", put(name, text), (name, says)) for how, (text, says) in JSON_SPOILS.items()]


def keys(*cases: tuple[str, Any, str], name: str = CONFIG) -> list[Spoilt]:
    """(key, value, what was wanted)."""
    return [
        Spoilt(f"{name}: {key} = {str(new)[:40]}", value(key, new, name), (name, key.split(".")[-1], says))
        for key, new, says in cases
    ]


# --- both layouts ------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


def weights_of(name: str, key: str, other: str) -> list[Spoilt]:
    """What may be wrong with a file of weights that holds the tensors `key` and `other`."""
    return [
        *broken_files(name),
        Spoilt(f"{name} is empty", put(name, ""), (name,)),
        Spoilt(f"{name} is text", put(name, "weights"), (name,)),
        Spoilt(f"{name} ends in its header", cut(name, 1000), (name, "not a whole safetensors file")),
        Spoilt(f"{name} ends in its tensors", cut(name, 2**20), (name, "not a whole safetensors file")),
        Spoilt(f"{name} has a header of 10^18 bytes", put(name, struct.pack("<Q", HUGE) + b"{}"), (name,)),
        Spoilt(f"{name} has a header of spaces", put(name, header(b" " * 1000)), (name,)),
        Spoilt(f"{name} has a deep header", put(name, header(DEEP.encode())), (name,)),
        Spoilt(
            f"{name} promises more bytes than it has",
            put(name, header({key: {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}}, b"1234")),
            (name,),
        ),
        Spoilt(
            f"{name} holds 4-bit numbers",
            put(name, header({key: {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}, b"1234")),
            (name,),
        ),
        Spoilt(f"{name} lacks a tensor", tensors(lambda t: t.pop(key), name), (name, "missing 1")),
        Spoilt(
            f"{name} holds a tensor too many",
            tensors(lambda t: t.update({"surplus": torch.zeros(2)}), name),
            ("surplus",),
        ),
        Spoilt(f"{name}: a tensor is misshapen", tensors(lambda t: t.update({key: torch.zeros(3)}), name), ("[3]",)),
        Spoilt(
            f"{name}: a tensor of whole numbers",
            tensors(lambda t: t.update({key: t[key].to(torch.int32)}), name),
            ("int32", "wanted"),
        ),
        Spoilt(
            f"{name}: a tensor of 8-bit floats",
            tensors(lambda t: t.update({key: t[key].to(torch.float8_e4m3fn)}), name),
            ("float8", "wanted"),
        ),
        Spoilt(
            f"{name}: a tensor of complex numbers",
            tensors(lambda t: t.update({key: t[key].to(torch.complex64)}), name),
            ("complex64", "wanted"),
        ),
        Spoilt(f"{name}: a weight is NaN", tensors(fill(key, NAN), name), (name, "nan", "finite")),
        Spoilt(f"{name}: a weight is infinite", tensors(fill(other, -INF), name), (name, "-inf", "finite")),
        Spoilt("the only weights are a pickle", pickled, ("pytorch_model.bin", "safetensors")),
    ]


def tokenizer_of() -> list[Spoilt]:
    return [
        *broken_files(TOKENIZER, {**FILE_SPOILS, **LARGE_SPOIL}),
        *broken_json(TOKENIZER),
        *broken_files(TOKENIZER_CONFIG, {**FILE_SPOILS, **LARGE_SPOIL}),
        *broken_json(TOKENIZER_CONFIG),
        Spoilt("no tokenizer at all", absent(TOKENIZER, "vocab.json", "merges.txt"), (TOKENIZER, "vocab.json")),
        Spoilt(
            "tokenizer.json of an unknown kind",
            value("model.type", "Magic", TOKENIZER),
            (TOKENIZER, "Magic"),
        ),
        Spoilt("tokenizer.json without words", value("model.vocab", {}, TOKENIZER), (TOKENIZER,)),
        Spoilt("tokenizer.json: words are a list", value("model.vocab", [1], TOKENIZER), (TOKENIZER,)),
        Spoilt(
            "tokenizer.json: an added token is a number",
            value("added_tokens.0", 7, TOKENIZER),
            (TOKENIZER,),
        ),
        Spoilt(
            "a tokenizer of ids that the model has no row for",
            edit(TOKENIZER, lambda t: t["model"]["vocab"].update({"zebra": 10**6})),
            (TOKENIZER, "1000000"),
        ),
        Spoilt(
            "a tokenizer that knows no regions",
            drop_tokens(lambda token: token.startswith("<region")),
            ("<region",),
        ),
        *keys(
            ("tokenizer_class", "MagicTokenizer", "Qwen2Tokenizer"),
            ("tokenizer_class", "LlamaTokenizer", "Qwen2Tokenizer"),
            ("tokenizer_class", 7, ""),
            ("model_max_length", "long", "number"),
            ("model_max_length", -1, ""),
            ("eos_token", 3, ""),
            ("added_tokens_decoder", {"0": 3}, ""),
            ("added_tokens_decoder", {"zero": {"content": "a"}}, ""),
            ("extra_special_tokens", 3, ""),
            name=TOKENIZER_CONFIG,
        ),
        Spoilt(
            "tokenizer_config.json names code to run",
            edit(
                TOKENIZER_CONFIG,
                lambda t: t.update(auto_map={"AutoTokenizer": ["code.Magic", None]}, tokenizer_class="Magic"),
            ),
            (TOKENIZER_CONFIG,),
        ),
        Spoilt("special_tokens_map.json is a pipe", instead("special_tokens_map.json", os.mkfifo), ("got a pipe",)),
        Spoilt(
            "special_tokens_map.json is a list", put("special_tokens_map.json", "[1]"), ("special_tokens_map.json",)
        ),
        Spoilt(
            "special_tokens_map.json holds numbers",
            put("special_tokens_map.json", '{"eos_token": 3}'),
            ("special_tokens_map.json", "eos_token"),
        ),
        Spoilt("added_tokens.json is a pipe", instead("added_tokens.json", os.mkfifo), ("got a pipe",)),
        Spoilt(
            "added_tokens.json holds words for ids",
            put("added_tokens.json", '{"<region0>": "zero"}'),
            ("added_tokens.json",),
        ),
        Spoilt("chat_template.jinja is a pipe", instead("chat_template.jinja", os.mkfifo), ("got a pipe",)),
        Spoilt("vocab.json is a pipe", instead("vocab.json", os.mkfifo), ("vocab.json", "got a pipe")),
        Spoilt("merges.txt is a pipe", instead("merges.txt", os.mkfifo), ("merges.txt", "got a pipe")),
    ]


def drop_tokens(gone: Callable[[str], bool]) -> Spoil:
    def spoil(folder: Path) -> None:
        def thin(tree: Any) -> None:
            tree["added_tokens"] = [token for token in tree["added_tokens"] if not gone(token["content"])]

        def thin_config(tree: Any) -> None:
            tree.pop("additional_special_tokens", None)
            tree["extra_special_tokens"] = []
            tree.pop("added_tokens_decoder", None)

        edit(TOKENIZER, thin)(folder)
        edit(TOKENIZER_CONFIG, thin_config)(folder)
        absent("added_tokens.json", "special_tokens_map.json")(folder)

    return spoil


def config_files() -> list[Spoilt]:
    return [
        *broken_files(CONFIG, {**FILE_SPOILS, **LARGE_SPOIL}),
        Spoilt("config.json leads out of the folder", instead(CONFIG, outside), (CONFIG, "not JSON")),
        *broken_json(CONFIG),
        Spoilt("config.json is missing", absent(CONFIG), (CONFIG,)),
        *keys(
            ("model_type", "llava", "'fo1'"),
            ("model_type", 3, "'fo1'"),
            ("model_type", None, "'fo1'"),
        ),
        Spoilt("config.json without model_type", without("model_type"), (CONFIG, "model_type")),
    ]


BIG = "1000000000000000000"
TEXT_KEYS: tuple[tuple[str, Any, str], ...] = (
    ("hidden_size", "64", "an integer"),
    ("hidden_size", -64, "1"),
    ("hidden_size", 0, "1"),
    ("hidden_size", HUGE, "65536"),
    ("hidden_size", 64.5, "an integer"),
    ("hidden_size", True, "an integer"),
    ("hidden_size", None, "an integer"),
    ("hidden_size", [64], "an integer"),
    ("hidden_size", 65_540, "65536"),
    ("intermediate_size", HUGE, "262144"),
    ("num_hidden_layers", HUGE, "512"),
    ("num_hidden_layers", 0, "1"),
    ("num_attention_heads", 3, "hidden_size"),
    ("num_key_value_heads", 3, "num_attention_heads"),
    ("vocab_size", HUGE, ""),
    ("vocab_size", 0, "1"),
    ("hidden_act", "magic", "silu"),
    ("hidden_act", 3, "silu"),
    ("rms_norm_eps", NAN, "finite"),
    ("rms_norm_eps", -1.0, ""),
    ("rms_norm_eps", "small", "number"),
    ("max_position_embeddings", -1, ""),
    ("pad_token_id", 10**6, "vocab_size"),
    ("pad_token_id", -5, ""),
    ("eos_token_id", "the end", "integer"),
    ("eos_token_id", [1, "two"], "integer"),
)
VISION_KEYS: tuple[tuple[str, Any, str], ...] = (
    ("depth", HUGE, "512"),
    ("depth", 0, "1"),
    ("hidden_size", HUGE, "65536"),
    ("num_heads", 3, "hidden_size"),
    ("num_heads", 0, "1"),
    ("patch_size", 0, "from 8 to 64"),
    ("patch_size", "14", "integer"),
    ("patch_size", HUGE, ""),
    ("in_channels", 4, "3"),
    ("spatial_merge_size", 0, "1"),
    ("temporal_patch_size", HUGE, ""),
    ("window_size", 0, "1"),
    ("window_size", 3, "patch_size"),
    ("fullatt_block_indexes", [9], "depth"),
    ("fullatt_block_indexes", "last", "list"),
    ("fullatt_block_indexes", [], "1"),
    ("out_hidden_size", -1, "1"),
    ("tokens_per_second", INF, ""),
    ("hidden_act", "magic", "silu"),
)


def inside(prefix: str, cases: tuple[tuple[str, Any, str], ...]) -> list[Spoilt]:
    return keys(*((f"{prefix}{key}", new, says) for key, new, says in cases))


OWN: list[Spoilt] = [
    *config_files(),
    *inside("base_config.text_config.", TEXT_KEYS),
    *inside("base_config.vision_config.", VISION_KEYS),
    *keys(
        ("base_config", [1], "an object"),
        ("base_config", 3, "an object"),
        ("base_config.model_type", "llama", "qwen2_5_vl"),
        ("base_config.text_config", 3, "an object"),
        ("base_config.vision_config", None, "an object"),
        ("base_config.tie_word_embeddings", "yes", "true or false"),
        ("base_config.image_token_id", -1, ""),
        ("base_config.text_config.rope_parameters.mrope_section", [1, 2, 3], "add up to 16"),
        ("base_config.text_config.rope_parameters.mrope_section", "all", "list"),
        ("base_config.text_config.rope_parameters.rope_theta", 0, ""),
        ("base_config.text_config.rope_parameters.rope_theta", INF, "finite"),
        ("base_config.text_config.rope_parameters.rope_type", "magic", "default"),
        ("aux", "mobilenet", "an object"),
        ("aux.type", "magic", "davit"),
        ("aux.type", None, "davit"),
        ("aux.sides", 3, ""),
        ("aux.views", [], "1"),
        ("aux.views", 3, "list"),
        ("aux.views", [{"side": 1_000_000_044}], ""),
        ("aux.views", [{"side": 301}], "44 mod 64"),
        ("aux.views", [{"side": 300, "mirrored": True}], "mirrored"),
        ("aux.views", [{"side": 300}] * 10_000, ""),
        ("region", [1], "an object"),
        ("region.pools", [{"level": 9}], "from 0 to 7"),
        ("region.pools", [{"level": 5}], "5 levels"),
        ("region.pools", [{"level": -1}], "0"),
        ("region.pools", [{"bins": 2}], "level"),
        ("region.pools", [{"level": 1, "bins": 10**6}], ""),
        ("region.pools", [{"level": 1, "context": 0}], ""),
        ("region.pools", [{"level": 1, "context": NAN}], "finite"),
        ("region.pools", {"level": 1}, "list"),
        ("region.evidence_size", -1, "0"),
        ("region.evidence_size", 7, "162"),
        ("region.primary_channels", 48, "32"),
        ("region.roi_size", 0, "1"),
        ("region.magic", 1, ""),
        ("image_projector", {"layers": -1}, "0"),
        ("region_projector", {"layers": 10**9}, ""),
        ("region_projector", {"layers": "2"}, "integer"),
        ("region_projector", {"layers": 2, "hidden_size": 0}, "1"),
        ("region_projector", 2, "an object"),
        ("heads", [1], "an object"),
        ("heads.depth", {}, ""),
        ("heads.match", 3, "an object"),
        ("heads.match.width", 0, "1"),
        ("heads.match.width", "16", "integer"),
        ("heads.match.classes", 81, "80"),
        ("heads.match.classes", -1, "0"),
        ("heads.match.views", 3, "2"),
        ("heads.match.magic", 1, ""),
        ("heads.iou.width", -1, "1"),
        ("heads.proposal.levels", [9], "from 0 to 7"),
        ("heads.proposal.levels", [5], "5 levels"),
        ("heads.proposal.levels", [], "1"),
        ("heads.proposal.levels", [2, 1], "rise"),
        ("heads.proposal.width", 15, "8"),
        ("heads.proposal.extra_levels", 10**6, ""),
        ("heads.proposal.blocks", -1, "0"),
        ("lessons", 3, "a list"),
        ("lessons", [{"names": ["cone"]}], "finder"),
        ("lessons", [{"names": [], "finder": {"levels": [1]}}], "1 to 65536 names"),
        ("lessons", [{"names": ["cone"], "finder": {"levels": [5]}}], "5 levels"),
        ("lessons", [{"names": ["cone"], "finder": {"levels": [1]}}] * 65, "64"),
        ("processing", [1], "an object"),
        ("processing.max_pixels", HUGE, "16777216"),
        ("processing.max_pixels", 0, ""),
        ("processing.max_pixels", -1, ""),
        ("processing.max_pixels", True, "integer"),
        ("processing.max_pixels", "many", "integer"),
        ("processing.min_pixels", HUGE, "16777216"),
        ("processing.min_pixels", 20_000, "max_pixels"),
        ("processing.max_side", HUGE, ""),
        ("processing.min_side", 0, "1"),
        ("processing.min_side", 4000, "max_side"),
        ("processing.max_regions", 10**9, ""),
        ("processing.max_regions", 0, "1"),
        ("processing.max_regions", 101, "<region100>"),
        ("processing.aux_aspect", "stretch", "squash"),
        ("processing.magic", 1, ""),
        ("vocabulary", "person", "list"),
        ("vocabulary", 3, "list"),
        ("vocabulary", {"person": 1}, "list"),
        ("vocabulary", [], "1"),
        ("vocabulary", ["person", 2], "string"),
        ("vocabulary", ["person", ""], "1"),
        ("vocabulary", ["person", "person"], "each name once"),
        ("vocabulary", ["x" * 10**6], ""),
        ("thresholds", [1], "an object"),
        ("thresholds.count", 2, "1"),
        ("thresholds.count", -0.1, "0"),
        ("thresholds.count", NAN, "finite"),
        ("thresholds.count", "half", "number"),
        ("thresholds.count", True, "number"),
        ("thresholds.magic", 0.5, ""),
        ("calibration", 3, "an object"),
        ("calibration", {"scale": 0}, ""),
        ("calibration", {"scale": -1}, ""),
        ("calibration", {"bias": INF}, "finite"),
        ("calibration", {"scale": "two"}, "number"),
        ("calibration", {"magic": 1}, ""),
        ("first_mention", -1, "0"),
        ("first_mention", "first", "integer"),
        ("first_mention", 3, "<region0>"),
    ),
    Spoilt("config.json without base_config", without("base_config"), (CONFIG, "base_config")),
    Spoilt("config.json without aux", without("aux"), (CONFIG, "evidence_size", "without a detector")),
    *weights_of(WEIGHTS, "region_projector.0.weight", "region_projector.0.bias"),
    Spoilt("the weights are missing", absent(WEIGHTS), ("safetensors",)),
    *tokenizer_of(),
]


def public_index(change: Callable[[dict[str, Any]], object]) -> Spoil:
    return edit(INDEX, lambda tree: change(tree["weight_map"]))


FIRST = "model.embed_tokens.weight"

PUBLIC: list[Spoilt] = [
    *config_files(),
    *inside("", TEXT_KEYS),
    *inside("vision_config.", VISION_KEYS),
    *keys(
        ("vision_config", 3, "an object"),
        ("vision_config", [], "an object"),
        ("image_token_id", None, "integer"),
        ("image_token_id", HUGE, ""),
        ("rope_theta", "large", "number"),
        ("rope_theta", -1, ""),
        ("rope_scaling", 3, "an object"),
        ("rope_scaling", {"mrope_section": [1, 1, 1]}, "add up to 8"),
        ("rope_scaling", {"mrope_section": "all"}, "list"),
        ("tie_word_embeddings", 3, "true or false"),
        ("mm_roi_output_size", HUGE, ""),
        ("mm_roi_output_size", 0, "1"),
        ("mm_region_feature_combination", "mean", "concat"),
        ("mm_apply_position_embedding", "yes", "true"),
        ("aux_image_aspect_ratio", "stretch", "dynamic"),
        ("aux_image_aspect_ratio", 3, "dynamic"),
        ("mm_vision_tower_aux", 3, ""),
        ("fo1_tiny_sizes", 3, "an object"),
        ("fo1_tiny_sizes.simple_fpn", 3, "an object"),
        ("fo1_tiny_sizes.simple_fpn.in_dim", 10, "64"),
        ("fo1_tiny_sizes.simple_fpn.out_channels", 0, "1"),
        ("fo1_tiny_sizes.simple_fpn.strides", [1], "4"),
        ("fo1_tiny_sizes.simple_fpn.strides", ["a"] * 4, "number"),
        ("fo1_tiny_sizes.simple_fpn.strides", [0, 0, 0, 0], ""),
        ("fo1_tiny_sizes.davit_config", 3, "an object"),
        ("fo1_tiny_sizes.davit_config.depths", [1, 1], "4"),
        ("fo1_tiny_sizes.davit_config.depths", [1, 1, 10**9, 1], ""),
        ("fo1_tiny_sizes.davit_config.dim_embed", "wide", "list"),
        ("fo1_tiny_sizes.davit_config.dim_embed", [33, 64, 96, 128], "num_heads"),
        ("fo1_tiny_sizes.davit_config.num_heads", [0, 4, 6, 8], "1"),
        ("fo1_tiny_sizes.davit_config.num_groups", [3, 4, 6, 8], "dim_embed"),
        ("fo1_tiny_sizes.davit_config.patch_stride", [0, 2, 2, 2], "1"),
        ("fo1_tiny_sizes.davit_config.window_size", HUGE, ""),
        ("fo1_tiny_sizes.davit_config.magic", 1, ""),
    ),
    Spoilt(
        "config.json describes more than memory holds",
        value("fo1_tiny_sizes.simple_fpn.out_channels", 65_536),
        (SHARDS[0], CONFIG, "wrong shape", "is [32], wanted [65536]"),
    ),
    Spoilt(
        "config.json names an unknown tower",
        without("fo1_tiny_sizes"),
        ("mm_vision_tower_aux is 'resources/davit-tiny.pth', wanted one of davit-base, davit-large",),
    ),
    Spoilt("config.json without image_token_id", without("image_token_id"), (CONFIG, "image_token_id")),
    Spoilt("config.json without vision_config", without("vision_config"), (CONFIG, "vision_config")),
    Spoilt("config.json without hidden_size", without("hidden_size"), (CONFIG, "hidden_size")),
    *weights_of(SHARDS[0], FIRST, "model.norm.weight"),
    *broken_files(INDEX, {**FILE_SPOILS, **LARGE_SPOIL}),
    *broken_json(INDEX),
    *keys(
        ("weight_map", [1], "an object"),
        ("weight_map", 3, "an object"),
        ("weight_map", {}, ""),
        name=INDEX,
    ),
    Spoilt("the index has no weight_map", without("weight_map", INDEX), (INDEX, "weight_map")),
    *(
        Spoilt(f"the index names {name}", public_index(lambda m, n=name: m.update({FIRST: n})), (INDEX, FIRST, says))
        for name, says in {
            "../model.safetensors": "file in the folder",
            "../../etc/passwd": "file in the folder",
            "/etc/passwd": "file in the folder",
            "sub/model.safetensors": "file in the folder",
            "..": "file in the folder",
            "": "file in the folder",
            "a\\b.safetensors": "file in the folder",
            "a\0b.safetensors": "file in the folder",
            INDEX: "file in the folder",
            "pytorch_model.bin": "file in the folder",
            "nowhere.safetensors": "a file that is there",
            "x" * 300 + ".safetensors": "file in the folder",
        }.items()
    ),
    Spoilt("the index gives a number for a file", public_index(lambda m: m.update({FIRST: 3})), (INDEX, FIRST)),
    Spoilt(
        "the index promises a tensor that is nowhere", public_index(lambda m: m.update(ghost=SHARDS[0])), ("ghost",)
    ),
    Spoilt(
        "the index seeks a tensor in the other file", public_index(lambda m: m.update({FIRST: SHARDS[1]})), (FIRST,)
    ),
    Spoilt(
        "two files hold one tensor",
        tensors(lambda t: t.update({FIRST: torch.zeros(560, 64)}), SHARDS[1]),
        (FIRST, *SHARDS),
    ),
    *tokenizer_of(),
]
