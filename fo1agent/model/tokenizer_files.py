"""The tokenizer of a model folder: its files looked at before transformers reads them, and held against the model.

transformers takes what is no regular file for absent and makes a tokenizer of the rest, and it runs into most wrong
values somewhere; here each is named. Code that a folder brings along is never run.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, RootModel

from fo1agent.errors import CheckpointError
from fo1agent.model import bases
from fo1agent.model.folder import (
    MAX_JSON,
    Stored,
    TokenId,
    checked,
    number,
    one_line,
    opened,
    read_json,
    shown,
    wanted,
    wrong,
)
from fo1agent.model.prompting import ProcessingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from fo1agent.model.config import FO1Config

WHOLE, WORDS, MERGES = "tokenizer.json", "vocab.json", "merges.txt"
SETTINGS, SPECIAL, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
_READ = (WHOLE, WORDS, MERGES, SETTINGS, SPECIAL, ADDED, "chat_template.jinja", "chat_template.json")
NEEDED = ("<ground>", "</ground>", "<objects>", "</objects>", "<region0>")


def load_tokenizer(folder: Path, config: FO1Config) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder, with every token that FO1 writes into prompts.

    Raises:
        CheckpointError: a file is missing, malformed or no regular file; or the tokenizer has ids that the model has no
            row for, or lacks tokens.
    """
    from transformers import AutoTokenizer

    chat = bases.adapter(config.base_config.model_type).chat
    check_files(folder, chat.tokenizers)
    try:
        with _with_regions(folder) as place:
            tokenizer = AutoTokenizer.from_pretrained(
                place, config=config.base_config, local_files_only=True, trust_remote_code=False
            )
        ids: dict[str, int] = tokenizer.get_vocab()
    except Exception as exc:  # tokenizers raises plain Exceptions, and transformers whatever it stumbles over
        raise CheckpointError(f"No tokenizer can be made of the files in {folder}: {one_line(exc)}.") from exc
    most = ProcessingConfig(**config.processing).max_regions
    check_ids(folder, ids, chat.stop, config.get_text_config().vocab_size, most, config.first_mention)
    return tokenizer


def add_tokens(tokenizer: PreTrainedTokenizerBase, regions: int) -> None:
    """Give a tokenizer the tokens that FO1 writes into prompts of so many regions, as far as it lacks them."""
    wanted_tokens = dict.fromkeys([*NEEDED, *(f"<region{k}>" for k in range(regions))])
    known = tokenizer.get_vocab()
    tokenizer.add_tokens([token for token in wanted_tokens if token not in known], special_tokens=True)


@contextmanager
def _with_regions(folder: Path) -> Iterator[Path]:
    """The folder; or, of a tokenizer that calls boxes `<objN>` (VLX-Seek's), a copy in which they are `<regionN>`."""
    names = (WHOLE, SETTINGS, SPECIAL, ADDED)
    told = {name: (folder / name).read_text(encoding="utf-8") for name in names if (folder / name).exists()}
    if not any("<obj0>" in text for text in told.values()) or any("<region0>" in text for text in told.values()):
        yield folder
        return
    with TemporaryDirectory() as place:
        for name in _READ:
            if name in told:
                text = re.sub(r"<obj(\d+)>", r"<region\1>", told[name])
                (Path(place) / name).write_text(text, encoding="utf-8")
            elif (folder / name).exists():
                shutil.copy(folder / name, place)
        yield Path(place)


def check_ids(folder: Path, ids: Mapping[str, int], stop: str, rows: int, most: int, first_mention: int | None) -> None:
    """Hold a tokenizer's ids against the model.

    Args:
        folder: where it is from.
        ids: of all its tokens.
        stop: the token that ends an answer.
        rows: of the model's table of embeddings.
        most: regions in a prompt.
        first_mention: what the model takes for the id of `<region0>`, if anything.

    Raises:
        CheckpointError: an id has no row, or a token is missing or not where it should be.
    """
    path = folder / (WHOLE if (folder / WHOLE).exists() else WORDS)
    word, largest = max(ids.items(), key=lambda item: item[1], default=("", -1))
    if largest >= rows:
        raise wrong(path, f"the id of {shown(word)}", str(largest), f"less than the model's vocab_size {rows}")
    for token in (stop, *NEEDED):
        if token not in ids:
            raise wrong(path, f"the token {token}", "missing", "all tokens that FO1 needs")
    regions = next(count for count in itertools.count() if f"<region{count}>" not in ids)
    if most > regions:
        known = f"at most {regions}, for {path.name} has no <region{regions}>"
        raise wrong(folder / "config.json", "processing.max_regions", str(most), known)
    if first_mention is not None and first_mention != ids["<region0>"]:
        wanted_id = f"{ids['<region0>']}, the id of <region0> in {path.name}"
        raise wrong(folder / "config.json", "first_mention", str(first_mention), wanted_id)


def check_files(folder: Path, classes: Sequence[str]) -> None:
    """Look at all that transformers may read."""
    present = {name: folder / name for name in _READ if os.path.lexists(folder / name)}
    if WHOLE not in present and WORDS not in present:
        raise CheckpointError(f"{folder} holds no tokenizer: neither {WHOLE} nor {WORDS}.")
    more = folder / "additional_chat_templates"
    for path in [*present.values(), *(sorted(more.iterdir()) if more.is_dir() else [])]:
        with opened(path, MAX_JSON):
            pass
    for name, path in present.items():
        if name not in _MODELS:
            continue
        said = checked(_MODELS[name], read_json(path), path)
        if isinstance(said, Settings) and said.tokenizer_class not in (None, *classes):
            raise wrong(path, "tokenizer_class", shown(said.tokenizer_class), f"one of {', '.join(classes)}")


# --- what the files may say --------------------------------------------------------------------------------------


def _ids(value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise wanted("an object")
    if not value:
        raise wanted("an object with words")
    for word, index in value.items():
        if type(index) is not int or not 0 <= index < 2**22:
            raise wanted(f"an integer from 0 to {2**22 - 1}", shown(word), shown(index))
    return value


def _no_code(value: Any) -> Any:
    if value:
        raise wanted("none: code that a folder brings along is not run")
    return value


def _token(value: Any) -> Any:
    text = value.get("content") if isinstance(value, dict) else value
    if not isinstance(text, str) or len(text) > 1000:
        raise wanted("a token: a string, or an object with its content")
    return value


def _tokens(value: Any) -> Any:
    """A list of tokens, or an object of named ones."""
    if not isinstance(value, (list, dict)):
        raise wanted("a list of tokens")
    for place, one in value.items() if isinstance(value, dict) else enumerate(value):
        try:
            _token(one)
        except ValueError:
            raise wanted("a token: a string, or an object with its content", str(place), shown(one)) from None
    return value


def _by_id(value: Any) -> Any:
    if isinstance(value, dict):
        for key in value:
            if not (key.isascii() and key.isdigit() and len(key) < 8):
                raise wanted("an object whose keys are ids", got=f"an object with the key {shown(key)}")
    return _tokens(value)


Token = Annotated[Any, PlainValidator(_token)]
Tokens = Annotated[Any, PlainValidator(_tokens)]


class Ids(RootModel[Annotated[dict[str, int], PlainValidator(_ids)]]):
    """vocab.json and added_tokens.json."""


class Bpe(Stored):
    """`model` of tokenizer.json."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["BPE"]
    vocab: Annotated[dict[str, int], PlainValidator(_ids)]
    merges: list[Any]


class AddedToken(Stored):
    """One of `added_tokens` of tokenizer.json."""

    model_config = ConfigDict(extra="ignore")

    id: TokenId
    content: Annotated[str, Field(min_length=1, max_length=1000)]


class WholeTokenizer(Stored):
    """tokenizer.json."""

    model_config = ConfigDict(extra="ignore")

    model: Bpe
    added_tokens: Annotated[list[AddedToken], Field(max_length=65_536)] = Field(default=[])


class SpecialTokens(Stored):
    """special_tokens_map.json, and the same keys of tokenizer_config.json."""

    model_config = ConfigDict(extra="ignore")

    bos_token: Token | None = None
    eos_token: Token | None = None
    unk_token: Token | None = None
    pad_token: Token | None = None
    additional_special_tokens: Tokens | None = None
    extra_special_tokens: Tokens | None = None


class Settings(SpecialTokens):
    """tokenizer_config.json, as far as anything follows from it."""

    tokenizer_class: str | None = None
    model_max_length: Annotated[float, number(1, 1e31)] | None = None
    added_tokens_decoder: Annotated[Any, PlainValidator(_by_id)] | None = None
    auto_map: Annotated[Any, PlainValidator(_no_code)] = None
    padding_side: Literal["left", "right"] | None = None
    errors: str | None = None
    split_special_tokens: bool | None = None
    clean_up_tokenization_spaces: bool | None = None
    add_prefix_space: bool | None = None


_MODELS: Mapping[str, type[BaseModel]] = {
    WHOLE: WholeTokenizer,
    WORDS: Ids,
    SETTINGS: Settings,
    SPECIAL: SpecialTokens,
    ADDED: Ids,
}
