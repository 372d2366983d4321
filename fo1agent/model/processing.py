"""A picture, its boxes and a question → what the towers and the tokenizer's model take, exactly as in the reference.

A picture's sizes in every frame, and the way of boxes between them, live in `ImageSizes`, so they cannot disagree.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizerBase
from transformers.processing_utils import ProcessorMixin

from fo1agent.errors import InputError
from fo1agent.model import bases
from fo1agent.model.aux_encoder import prepare_aux
from fo1agent.model.config import FO1Config
from fo1agent.model.finding import CONFIG, find_folder
from fo1agent.model.frames import ImageInputs, ImageSizes
from fo1agent.model.prompting import IMAGE_SLOT, REGION_SLOT, ProcessingConfig, Prompting, check_text
from fo1agent.model.reading import read_config
from fo1agent.model.tokenizer_files import load_tokenizer
from fo1agent.pictures.image import load_image
from fo1agent.regions.regions import check_boxes, check_inside, shown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Prompt:
    """A prompt's text with its slots, tower input of its pictures, and boxes [N, 4] of each."""

    parts: list[str | int]
    images: list[ImageInputs]
    boxes: list[np.ndarray]

    @property
    def text(self) -> str:
        """As the reference writes it."""
        marks: dict[str | int, str] = {IMAGE_SLOT: "<image>", REGION_SLOT: "<regionfeat>"}
        return "".join(marks.get(part, str(part)) for part in self.parts)


class FO1Processor(Prompting, ProcessorMixin):
    """Pictures, boxes and words → model input, and ids → words. Called, it makes what `FO1.generate` takes.

    Args:
        tokenizer: a Hugging Face tokenizer that knows the chat and region tokens.
        config: the model's configuration.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: FO1Config) -> None:
        self.chat_template = None  # the base's `Chat`, which has places for regions
        self.tokenizer, self.config = tokenizer, config
        self.settings = ProcessingConfig(**config.processing)
        self.adapter = bases.adapter(config.base_config.model_type)
        self.chat = self.adapter.chat
        if self.settings.closing is not None:
            self.chat = replace(self.chat, closing=self.settings.closing)
        self.image_processor = self.adapter.image_processor(config.base_config, self.settings)
        self.stop_id = self.token_id(self.chat.stop)

    @classmethod
    def get_attributes(cls) -> list[str]:
        """The processors inside this one, by name."""
        return ["image_processor", "tokenizer"]

    @property
    def model_input_names(self) -> list[str]:
        """What a batch holds."""
        return ["input_ids", "attention_mask", "images", "boxes"]

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path | None = None) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The processor of a model, named as for `FO1.from_pretrained`.

        Raises:
            CheckpointError: nothing there, or it does not load; the message says why.
        """
        return cls.from_folder(find_folder(name_or_folder)[0])

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """`from_pretrained` of a local folder.

        Raises:
            CheckpointError: see `load_tokenizer` and `read_config`.
        """
        config = read_config(folder)
        return cls(load_tokenizer(folder, config), config)

    def save_pretrained(self, folder: str | Path) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Write the tokenizer's files, and config.json if no model has written its own there."""
        self.tokenizer.save_pretrained(folder)
        if not (Path(folder) / CONFIG).exists():
            self.config.save_pretrained(folder)

    # --- a batch -----------------------------------------------------------------------------------------------

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, images: Any = None, text: str | Sequence[str] = "", boxes: Any = None, return_tensors: str | None = None
    ) -> BatchFeature:
        """What `FO1.generate` and `FO1.forward` take, of one prompt or of several.

        Args:
            images: a picture in any form that `load_image` takes, a list of pictures, or None. For a list of texts a
                list with one of these for each.
            text: what the user says; `<regionN>` in it is box N, counted through all pictures of the prompt. Chat
                markers in it are broken, so that text read in a picture cannot end the turn.
            boxes: for each picture [N, 4] xyxy pixels of the upright original, or `Regions`, best first, nested like
                `images`; None for none. Beyond the most that the model reads, the best are kept, which is logged.
            return_tensors: "pt", as it is without it.

        Returns:
            `input_ids` [B, P] with slots, padded in front; `attention_mask` [B, P]; `images`, tower input of each
            picture; `boxes`, [N, 4] of each picture.

        Raises:
            InputError: images, texts and boxes differ in number, a picture cannot be read, a box is none or has no area
                inside its picture, a text names a box that is not there, or other tensors are wanted.
        """
        _check_tensors(return_tensors)
        if not _many(text):
            return self._batch([self._prompt([text], images, boxes)])
        none = [None] * len(text)
        images, boxes = _listed("images", none if images is None else images), none if boxes is None else boxes
        if not 0 < len(text) == len(images) == len(_listed("boxes", boxes)):
            raise InputError(f"Got {len(text)} texts, {len(images)} images and {len(boxes)} boxes; give one of each.")
        return self._batch([self._prompt([one], *about) for one, *about in zip(text, images, boxes, strict=True)])

    def apply_chat_template(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        conversation: Sequence[Mapping[str, Any]],
        tokenize: bool = False,
        return_tensors: str | None = None,
        **_: Any,
    ) -> Any:
        """A conversation as the prompt of its next answer.

        Args:
            conversation: messages, `role` user and assistant in turn, user first and last; `content` is text, or a list
                of `{"type": "image", "image": …, "boxes": …}` and `{"type": "text", "text": …}`. Pictures stand in the
                first message.
            tokenize: give the batch, as calling the processor does, instead of the prompt's text, in which `<image>`
                and `<regionfeat>` mark the slots.
            return_tensors: as for calling the processor.

        Raises:
            InputError: no messages, or of other roles, in another order or with other content; and as calling the
                processor.
        """
        _check_tensors(return_tensors)
        said: list[str] = []
        pictures: list[Mapping[str, Any]] = []
        for place, message in enumerate(_listed("conversation", conversation)):
            if not isinstance(message, Mapping):
                raise InputError(f"messages[{place}] is {shown(message)}; wanted an object with role and content.")
            role, content = message.get("role"), message.get("content")
            if role != ("user", "assistant")[place % 2]:
                raise InputError(
                    f"messages[{place}] is of {shown(role)}; user and assistant take turns, the user first."
                )
            content = () if content is None else content
            parts = content if isinstance(content, (list, tuple)) else [{"type": "text", "text": content}]
            kinds = {"text": [], "image": pictures} if not place else {"text": []}
            for part in parts:
                kind = part.get("type") if isinstance(part, Mapping) else None
                if not isinstance(kind, str) or kind not in kinds or kind not in part:
                    raise InputError(
                        f"messages[{place}] holds {shown(part)}; wanted {' and '.join(kinds)}, only the first "
                        "message pictures."
                    )
                kinds[kind].append(part)
            said.append(" ".join(check_text(part["text"]) for part in kinds["text"]))
        if len(said) % 2 == 0:
            raise InputError(f"The conversation has {len(said)} messages; it ends with the user's, which is answered.")
        prompt = self._prompt(said, [part["image"] for part in pictures], [part.get("boxes") for part in pictures])
        return self._batch([prompt]) if tokenize else prompt.text

    def _prompt(self, said: Sequence[Any], images: Any, boxes: Any) -> _Prompt:
        """What was said, user and assistant in turn, about pictures that come first."""
        if not isinstance(images, (list, tuple)):
            images, boxes = ([], []) if images is None else ([images], [boxes])
        boxes = [None] * len(images) if boxes is None else _listed("boxes", boxes)
        if len(images) != len(boxes):
            raise InputError(f"Got {len(images)} images and {len(boxes)} arrays of boxes; give one of each.")
        pictures = [self.image(load_image(image).pixels) for image in images]
        kept = [self._best(own, picture.sizes.original_hw) for picture, own in zip(pictures, boxes, strict=True)]
        count, most = sum(map(len, kept)), self.settings.max_regions
        if count > most:
            raise InputError(f"The pictures of a prompt have {count} boxes together; at most {most} are read.")
        _check_named(said[::2], count)
        parts, between = self._prompt_parts([len(own) for own in kept])
        parts.append(between + self.plain(said[0]) + self.chat.closing)
        turn = self.chat.stop + self.chat.next_turn
        for reply, text in zip(said[1::2], said[2::2], strict=True):
            parts += [self.plain(reply.removesuffix(self.chat.stop)), turn + self.plain(text) + self.chat.closing]
        return _Prompt(parts, pictures, kept)

    def _best(self, boxes: Any, size_hw: tuple[int, int]) -> np.ndarray:
        """The boxes [N, 4] of a picture that are kept, cut at its border; of None none."""
        if boxes is None:
            return np.zeros((0, 4))
        found = check_inside(check_boxes(boxes), size_hw)
        kept, note = self.keep_best(getattr(boxes, "scores", np.ones(len(found))))
        if note:
            log.warning("%s", note)
        return found[kept]

    def _batch(self, prompts: Sequence[_Prompt]) -> BatchFeature:
        rows = [self._tokenize(prompt.parts) for prompt in prompts]
        pad = self.tokenizer.pad_token_id
        padded = [
            torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value, padding_side="left")
            for tensors, value in (
                (rows, self.stop_id if pad is None else pad),
                ([torch.ones_like(r) for r in rows], 0),
            )
        ]
        images, boxes = ([one for prompt in prompts for one in getattr(prompt, name)] for name in ("images", "boxes"))
        return BatchFeature(dict(zip(self.model_input_names, (*padded, images, boxes), strict=True)))

    # --- pictures and boxes ------------------------------------------------------------------------------------

    def image(self, image: Image.Image) -> ImageInputs:
        """Tower input of one upright PIL picture of any mode.

        Raises:
            ImageError: the picture is more than 200 times as long as it is wide, or the reverse.
        """
        seen, scale = self._seen(image)
        tower = self.adapter.tower_input(self.image_processor, seen, self.config.base_config)
        views = prepare_aux(self.config.aux, self.settings, seen)
        aux_h, aux_w = views["main"].shape[-2:]
        sizes = ImageSizes(
            original_wh=image.size,
            scale_xy=scale,
            seen_wh=seen.size,
            aux_wh=(aux_w, aux_h),
            primary_wh=tower.size_wh,
        )
        return ImageInputs(tower, views, sizes, self._picture_ids(tower.pieces))

    def _picture_ids(self, pieces: Sequence[str | int]) -> Tensor | None:
        """Ids of what stands for a picture, with slots; None where it is image tokens alone."""
        if not pieces:
            return None
        return self._array(
            [
                one
                for piece in pieces
                for one in (self._text_ids(piece) if isinstance(piece, str) else piece * [IMAGE_SLOT])
            ]
        )

    def decode(self, ids: Tensor | Sequence[int]) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Text of generated ids [n], up to the stop token and without outer blanks. Regions are special tokens.

        Raises:
            InputError: they are no ids, or no row of them.
        """
        numbers = ids.tolist() if isinstance(ids, (Tensor, np.ndarray)) else ids
        if not isinstance(numbers, (list, tuple)) or not all(type(i) is int and 0 <= i < 2**32 for i in numbers):
            raise InputError(f"decode takes the ids [n] of one text, as generate gives them, got {shown(numbers)}.")
        text = self.tokenizer.decode(list(numbers), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return self._spoken(str(text))

    def batch_decode(self, ids: Tensor | Sequence[Sequence[int]]) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`decode` of every row of ids [B, n]."""
        return [self.decode(row) for row in _listed("ids", ids)]

    def _id_of(self, token: str) -> int | None:
        # `get_vocab` makes a dict of the whole vocabulary anew; this asks for one token, and of an unknown one answers
        # with the id of `unk_token`.
        index = self.tokenizer.convert_tokens_to_ids(token)
        return index if index is not None and self.tokenizer.convert_ids_to_tokens(index) == token else None

    def _text_ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _array(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(ids, dtype=torch.long)


def _check_tensors(wanted: str | None) -> None:
    if wanted not in (None, "pt"):
        raise InputError(f'return_tensors is {wanted!r}; there are only tensors of torch: "pt", or leave it out.')


def _check_named(said: Sequence[str], count: int) -> None:
    """Refuse words of the user that name a box which the prompt, of so many, does not have."""
    for number in (int(digits) for text in said for digits in re.findall(r"<region(\d{1,9})>", check_text(text))):
        if number >= count:
            have = f"{count} {'box' if count == 1 else 'boxes'}, named from <region0>" if count else "no boxes"
            raise InputError(f"The text names <region{number}>, but the prompt has {have}.")


def _many(value: Any) -> bool:
    kinds = (Sequence, np.ndarray, Tensor)
    return isinstance(value, kinds) and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) > 0


def _listed(name: str, value: Any) -> Any:
    if not _many(value):
        raise InputError(f"{name} must be a list, got {shown(value)}.")
    return value
