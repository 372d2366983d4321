"""Greedy decoding behind a shared prefix. Knows ids, not words.

`greedy` continues one prompt, by transformers' own `generate`; `greedy_many` many at once that begin alike, one token a
step: the same ids, but for what rounding does to two equally likely tokens. transformers knows no branches.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, InstanceOf, ValidationError
from torch import Tensor
from transformers import (
    Cache,
    GenerationConfig,
    GenerationMixin,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
)
from transformers.generation.configuration_utils import GenerationMode

from fo1agent.errors import InputError
from fo1agent.model import branches as branching
from fo1agent.model.folder import one_line
from fo1agent.model.frames import ImageInputs
from fo1agent.model.prefix import Prefix
from fo1agent.model.sequence import TokenBatch, check_ids, check_length, mentioned
from fo1agent.regions.regions import shown

# What `generate` of transformers takes beside the fields of a `GenerationConfig`.
_OTHER_OPTIONS = (
    "generation_config",
    "logits_processor",
    "stopping_criteria",
    "streamer",
    "prefix_allowed_tokens_fn",
    "synced_gpus",
    "assistant_model",
    "tokenizer",
)

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[_Number, Field(ge=0, le=1)] | None
_Above0 = Annotated[_Number, Field(gt=0)] | None
_Count = Annotated[int, Field(ge=1)] | None
_Count0 = Annotated[int, Field(ge=0)] | None
_Ids = int | list[int] | InstanceOf[Tensor] | None


def _streams(value: Any) -> Any:
    if not all(callable(getattr(value, name, None)) for name in ("put", "end")):
        raise ValueError("it must have put and end, as a TextStreamer has")
    return value


class _Options(BaseModel):
    """The options of which transformers finds out late, or never, that they make no sense."""

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)

    max_new_tokens: _Count = None
    min_new_tokens: _Count0 = None
    max_length: _Count0 = None
    min_length: _Count0 = None
    num_return_sequences: _Count = None
    max_time: _Above0 = None
    temperature: _Above0 = None
    repetition_penalty: _Above0 = None
    top_k: _Count0 = None
    top_p: _Share = None
    min_p: _Share = None
    eos_token_id: _Ids = None
    pad_token_id: _Ids = None
    do_sample: bool | None = None
    generation_config: InstanceOf[GenerationConfig] | None = None
    logits_processor: list[Callable[..., Any]] | None = None
    stopping_criteria: list[Callable[..., Any]] | None = None
    prefix_allowed_tokens_fn: Callable[..., Any] | None = None
    streamer: Annotated[Any, AfterValidator(_streams)] | None = None


class FO1GenerationMixin(GenerationMixin):
    """What `FO1` has of transformers' `GenerationMixin`, over prompts with pictures and regions."""

    # The model's own.
    read: Any
    embed: Any
    continued: Any
    adapter: Any
    base: Any
    config: Any
    device: Any

    @torch.inference_mode()
    def generate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input_ids: Tensor,
        images: Sequence[ImageInputs] = (),
        boxes: Sequence[Any] = (),
        attention_mask: Tensor | None = None,
        prefix: Prefix | None = None,
        **options: Any,
    ) -> Any:
        """What the model writes: transformers' `GenerationMixin.generate`, greedily or by sampling.

        Args:
            input_ids, images, boxes, attention_mask: what `FO1Processor` made; see `samples`.
            prefix: what `input_ids` [1, Q] without slots continue, kept from another run; no tower runs again.
            options: of `GenerationMixin.generate`, such as `max_new_tokens` (256), `do_sample`, `temperature`, `top_p`,
                `repetition_penalty`, `num_return_sequences`, `eos_token_id`, `pad_token_id`, `logits_processor`,
                `stopping_criteria`, `streamer`, `generation_config`, `return_dict_in_generate`. They see new ids alone:
                a prompt has slots, which are no words.

        Returns:
            New ids [B, n], padded behind their end; or transformers' output, if `return_dict_in_generate`.

        Raises:
            InputError: what `samples` refuses; more tokens than the model has positions; an option that there is not,
                or that makes no sense, or another way of decoding: beams and assistants read a prompt several times or
                go back in it.
        """
        asked = check_options(self.generation_config, options)
        new = asked.max_new_tokens or 0
        copies, penalty = asked.num_return_sequences or 1, asked.repetition_penalty
        if penalty not in (None, 1.0):
            # transformers' own leaves out as many ids as the prompt has padding, of a prompt that is not among them.
            given = options.get("logits_processor") or ()
            options["logits_processor"] = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(penalty), *given])
            options["repetition_penalty"] = 1.0
        if prefix is None:
            batch = self.read(new, input_ids, images, boxes, attention_mask).padded_left()
            embeds, positions, following = batch.inputs_embeds, batch.position_ids, batch.next_position
            mask, regions, cache = batch.mask.long(), batch.region_tokens(), self.continued(Prefix.empty(0))
            pictures = {"image_index": batch.image_index, "extras": batch.extras, "prompt_ids": batch.ids}
        else:
            text = self.config.get_text_config()
            check_ids(text.vocab_size, input_ids)
            check_length(text.max_position_embeddings, prefix.next_position + input_ids.shape[1], new)
            positions = prefix.next_position + torch.arange(input_ids.shape[1], device=self.device)
            following, regions = positions[-1:] + 1, prefix.region_tokens[None]
            positions = positions.expand(self.adapter.axes, 1, -1)
            mask = positions.new_ones(1, prefix.length + input_ids.shape[1])
            embeds, cache = self.embed(input_ids, prefix), self.continued(prefix, copies)
            pictures = {"prompt_ids": input_ids}
        begun = cache.get_seq_length()
        try:
            return super().generate(  # pyright: ignore[reportAttributeAccessIssue]
                inputs_embeds=embeds,
                prompt_positions=positions.transpose(0, 1),
                next_position=following,
                regions=regions,
                attention_mask=mask,
                padded=prefix is None and len(embeds) > 1,
                cache=cache,
                **pictures,
                **options,
            )
        except (ValueError, TypeError, AttributeError) as exc:
            if cache.get_seq_length() > begun:
                raise
            # The model has read nothing yet: only options were looked at.
            raise InputError(f"FO1.generate cannot go by its options: {one_line(exc)}") from exc

    def prepare_inputs_for_generation(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input_ids: Tensor,
        inputs_embeds: Tensor,
        prompt_positions: Tensor,
        next_position: Tensor,
        regions: Tensor,
        attention_mask: Tensor,
        cache: Cache,
        padded: bool,
        image_index: Tensor | None = None,
        extras: Sequence[Tensor] = (),
        prompt_ids: Tensor | None = None,
        is_first_iteration: bool = False,
        **_: Any,
    ) -> dict[str, Any]:
        """What `forward` reads next: the prompt, then the newest id. Called by transformers.

        Args:
            input_ids: [B, n], written so far.
            inputs_embeds, prompt_positions: [B, L, d] and [B, axes, L], what the cache has not read of the prompt.
            next_position: [B], the first position behind the prompt.
            regions: [B, N, d], region tokens, zeros behind the last.
            attention_mask: [B, S + L + n], 0 on padding, with the S of a prefix.
            cache: grows with every call.
            padded: whether a row may have padding.
            image_index, extras, prompt_ids: of the prompt, as of `TokenBatch`.
            is_first_iteration: whether the prompt is to be read.
        """
        embeds, positions = inputs_embeds, prompt_positions.transpose(0, 1)
        if not is_first_iteration:
            positions = (next_position[:, None] + input_ids.shape[1] - 1).expand(len(positions), -1, -1)
            image_index, prompt_ids = None, input_ids[:, -1:]
            embeds = self.base.get_input_embeddings()(input_ids[:, -1:])
            if self.config.first_mention is not None:
                pairs = zip(input_ids[:, -1:], regions.to(embeds), strict=True)
                embeds = embeds + torch.stack([mentioned(ids, own, self.config.first_mention) for ids, own in pairs])
        batch = TokenBatch.plain(embeds, positions, attention_mask, image_index, extras, prompt_ids, padded)
        return {"batch": batch, "cache": cache, "logits_to_keep": 1}


def check_options(own: GenerationConfig, options: Mapping[str, Any]) -> GenerationConfig:
    """The settings of `FO1.generate` that options make of a model's own.

    Raises:
        InputError: transformers does not know an option, or it asks for a way of decoding that FO1 does not go.
    """
    given = options.get("generation_config") or own
    try:
        _Options.model_validate({**(vars(given) if isinstance(given, GenerationConfig) else {}), **options})
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        name, wanted = str(first["loc"][0]), first["msg"].replace("Input should be", "it must be")
        got = shown(options.get(name, first["input"]))
        raise InputError(f"FO1.generate got {name}={got}: {wanted.removeprefix('Value error, ')}.") from exc
    asked = copy.copy(given)
    try:
        unknown = asked.update(**{key: value for key, value in options.items() if key not in _OTHER_OPTIONS})
    except (ValueError, TypeError, AttributeError) as exc:
        raise InputError(one_line(exc)) from exc
    if unknown:
        raise InputError(f"FO1.generate has no option {', '.join(sorted(unknown))}.")
    mode = asked.get_generation_mode(options.get("assistant_model"))
    if mode not in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE):
        raise InputError(f"FO1 generates by greedy_search or sample, got options for {mode.value}.")
    if refused := [name for name in ("output_attentions", "guidance_scale", "token_healing") if vars(asked).get(name)]:
        raise InputError(f"FO1.generate has no {', '.join(refused)}: leave it out.")
    if asked.cache_implementation or asked.use_cache is False or asked.prefill_chunk_size:
        raise InputError("FO1.generate has a cache of its own: leave out cache_implementation, use_cache and chunks.")
    return asked


@dataclass(frozen=True)
class Generated:
    """What came out.

    Attributes:
        ids: [n] int64, with the stop token if there was one.
        logits: [n, V], from which each id was taken; None unless asked for.
        stopped: False when the limit of tokens ended it.
    """

    ids: Tensor
    logits: Tensor | None
    stopped: bool


@torch.inference_mode()
def greedy(
    model: Any,
    prefix: Prefix,
    ids: Tensor,
    stop_ids: Collection[int],
    max_new_tokens: int = 256,
    keep_logits: bool = False,
) -> Generated:
    """Continue a prompt with the likeliest tokens.

    Args:
        model: in eval mode.
        prefix: the prompt's beginning, which stays as it is (`Prefix.empty` when there is none).
        ids: [Q] int64, the rest of the prompt, at least one token and no slots.
        stop_ids: ids that end the answer.
        max_new_tokens: at most so many.
        keep_logits: whether to return the logits of every step.
    """
    if not max_new_tokens:
        return Generated(ids[:0], None, False)
    written = model.generate(
        ids.to(model.device)[None],
        prefix=prefix,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        repetition_penalty=1.0,
        eos_token_id=sorted(stop_ids) or None,
        return_dict_in_generate=True,
        output_logits=keep_logits,
    )
    taken = written.sequences[0].cpu()
    return Generated(taken, torch.cat(written.logits) if keep_logits else None, int(taken[-1]) in stop_ids)


@torch.inference_mode()
def greedy_many(
    model: Any, prefix: Prefix, branches: Sequence[Tensor], stop_ids: Collection[int], max_new_tokens: int = 256
) -> list[Generated]:
    """`greedy` for every branch of a prefix; see `greedy_behind`."""
    return greedy_behind(model, [prefix], [branches], stop_ids, max_new_tokens)


@torch.inference_mode()
def greedy_behind(
    model: Any,
    prefixes: Sequence[Prefix],
    branches: Sequence[Sequence[Tensor]],
    stop_ids: Collection[int],
    max_new_tokens: int = 256,
) -> list[Generated]:
    """`greedy` for every branch, all of them in one pass a token where the base can branch. None sees another.

    Args:
        model, stop_ids, max_new_tokens: as for `greedy`.
        prefixes: prompts' beginnings, which stay as they are.
        branches: for each of them what follows, [.] int64 each, at least one token and no slots. May be none.

    Returns:
        What came out of each branch, those of one prefix after those of another.
    """
    taken: list[list[int]] = [[] for own in branches for _ in own]
    if not taken or not max_new_tokens:
        return [Generated(torch.tensor(ids, dtype=torch.long), None, False) for ids in taken]
    reading = branching.start_behind(model, prefixes, branches)
    states, still = reading.read(), list(range(len(taken)))
    while True:
        found = model.logits(states).max(dim=-1).indices  # argmax takes six times as long in bfloat16
        written = found.tolist()  # the one thing that a token waits for: whether it is the last
        for branch, token in zip(still, written, strict=True):
            taken[branch].append(token)
        going = [k for k, token in enumerate(written) if token not in stop_ids]
        if not going or len(taken[still[0]]) == max_new_tokens:
            break
        still = [still[k] for k in going]
        states = reading.go_on(going, found)
    return [Generated(torch.tensor(t, dtype=torch.long), None, t[-1] in stop_ids) for t in taken]
