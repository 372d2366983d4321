"""The options of a chat, as OpenAI names them: each is used, changes nothing and is checked, or is refused.

One list for both faces that chats come in by, `/v1/chat/completions` and the rules as a LangChain chat model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

from fo1agent.errors import InputError
from fo1agent.regions.regions import shown
from fo1agent.tools.base import unknown_names
from fo1agent.tools.registry import registry

AUTO, NONE, REQUIRED = "auto", "none", "required"

Finish = Literal["stop", "length"]

# What `max_tokens` counts: no model's tokens are at hand. White space belongs to what follows it.
_PIECE = re.compile(r"\s*(?:[^\W\d_]{1,8}|\d{1,3}|(?:[^\w\s]|_){1,2})|\s+")

_NOTHING = "Changes nothing: nothing is drawn at random."

Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict()]

# Option → (values that ask for nothing, what is said to all others).
_REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "n": ((1,), "there is one answer; send 1, or leave it out"),
    "logprobs": ((False,), "answers have none; in the field fo1agent each region has its probability"),
    "top_logprobs": ((), "answers have none; in the field fo1agent each region has its probability"),
    "logit_bias": (({},), "answers are not drawn from tokens, so that none can be favoured; leave it out"),
    "response_format": (({"type": "text"},), "answers are text; all else is in the field fo1agent"),
    "modalities": ((["text"],), 'answers are text; send ["text"], or leave it out'),
    "audio": ((), "answers are text; leave it out"),
    "functions": (([],), "send tools instead"),
    "function_call": ((), "send tool_choice instead"),
    "store": ((False,), "answers are not kept; send false, or leave it out"),
    "service_tier": (("auto", "default"), "there is one; send auto or default, or leave it out"),
    "web_search_options": ((), "nothing is searched for outside the picture; leave it out"),
}


class Closed(BaseModel):
    """Base of what callers send: a name that is not known is refused, with those that are, and the closest."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and (said := unknown_names(given, list(cls.model_fields), "field")):
            raise ValueError(said)
        return given


class ChatOptions(Closed):
    """What a chat may ask for besides messages and tools."""

    tool_choice: Any = Field(
        None,
        description='"auto"; "none"; "required", or a function: refused where the question needs no such call.',
    )
    parallel_tool_calls: Flag | None = Field(None, description="false: one tool call in a message, at most.")
    stop: str | list[str] | None = Field(
        None, description="Up to 4 texts; the answer's text ends before the first of them."
    )
    max_completion_tokens: Whole | None = Field(
        None, ge=1, description="The text is cut after so many pieces: words of up to 8 letters, 3 digits, 2 signs."
    )
    max_tokens: Whole | None = Field(None, ge=1, description="The same, by its older name.")

    n: Any = Field(None, description="1: there is one answer.")
    logprobs: Any = Field(None, description="false: there are none.")
    top_logprobs: Any = Field(None, description="Refused.")
    logit_bias: Any = Field(None, description="Refused.")
    response_format: Any = Field(None, description='{"type": "text"}: answers are text.')
    modalities: Any = Field(None, description='["text"].')
    audio: Any = Field(None, description="Refused.")
    functions: Any = Field(None, description="Refused: send tools.")
    function_call: Any = Field(None, description="Refused: send tool_choice.")
    store: Any = Field(None, description="false: answers are not kept.")
    service_tier: Any = Field(None, description="auto or default: there is one.")
    web_search_options: Any = Field(None, description="Refused.")

    temperature: Real | None = Field(None, ge=0, le=2, description=_NOTHING)
    top_p: Real | None = Field(None, ge=0, le=1, description=_NOTHING)
    presence_penalty: Real | None = Field(None, ge=-2, le=2, description=_NOTHING)
    frequency_penalty: Real | None = Field(None, ge=-2, le=2, description=_NOTHING)
    seed: Whole | None = Field(None, description=_NOTHING)
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None, description=_NOTHING
    )
    verbosity: Literal["low", "medium", "high"] | None = Field(None, description=_NOTHING)
    prediction: dict[str, Any] | None = Field(None, description="Changes nothing.")
    user: str | None = Field(None, description="Changes nothing.")
    safety_identifier: str | None = Field(None, description="Changes nothing.")
    metadata: dict[str, str] | None = Field(None, description="Changes nothing.")
    prompt_cache_key: str | None = Field(None, description="Changes nothing.")
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = Field(
        None, description="Changes nothing."
    )

    @model_validator(mode="after")
    def _can_be_kept(self) -> ChatOptions:
        for name, (neutral, said) in _REFUSED.items():
            value = getattr(self, name)
            if value is not None and not any(type(value) is type(one) and value == one for one in neutral):
                raise ValueError(f"{name}: {said}; got {shown(value)}")
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("max_tokens and max_completion_tokens are one thing by two names; send one of them")
        stops = self.stops
        if len(stops) > 4 or not all(stops):
            raise ValueError(f"stop: up to 4 texts, none of them empty; got {shown(self.stop)}")
        self.chosen_tool()  # whether it has a form that is known
        return self

    @property
    def stops(self) -> list[str]:
        """The texts before which an answer ends."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def shortens(self) -> bool:
        """Whether an answer's text may have to be cut."""
        return bool(self.stops) or self._most is not None

    @property
    def _most(self) -> int | None:
        return self.max_completion_tokens if self.max_tokens is None else self.max_tokens

    def cut(self, text: str) -> tuple[str, Finish]:
        """(the text as far as it may go, why it ends there)."""
        ends = [at for one in self.stops if (at := text.find(one)) >= 0]
        kept = text[: min(ends)] if ends else text
        if self._most is not None:
            for number, piece in enumerate(_PIECE.finditer(kept), 1):
                if number > self._most:
                    return kept[: piece.start()], "length"
        return kept, "stop"

    def chosen_tool(self) -> str:
        """ "auto", "none", "required", or the name of the tool that must be called.

        Raises:
            ValueError: it has a form that is not known.
        """
        choice = self.tool_choice
        if choice is None or choice is False:
            return AUTO
        if choice in ("any", True):  # LangChain's words
            return REQUIRED
        if isinstance(choice, str) and choice:
            return choice
        if isinstance(choice, Mapping) and choice.get("type") in ("function", "tool"):
            inner = choice.get("function")
            name = inner.get("name") if isinstance(inner, Mapping) else choice.get("name")
            if isinstance(name, str) and name:
                return name
        raise ValueError(
            'tool_choice: "auto", "none", "required", or {"type": "function", "function": {"name": …}} with the name '
            f"of a tool that is offered; got {shown(choice)}"
        )

    def check_tools(self, offered: Collection[str]) -> None:
        """See whether a tool that must be called can be.

        Args:
            offered: names of the tools that may be called.

        Raises:
            InputError: it is not offered, or none of fo1agent's is.
        """
        choice = self.chosen_tool()
        if choice in (AUTO, NONE):
            return
        if choice != REQUIRED and choice not in offered:
            names = ", ".join(sorted(offered)) or "none"
            raise InputError(f"tool_choice names the tool {choice[:64]!r}, which is not offered. Offered are: {names}.")
        known = registry()
        if not any(name in known for name in (offered if choice == REQUIRED else (choice,))):
            raise InputError(
                f"tool_choice {choice[:64]!r}: only fo1agent's own tools are called here ({', '.join(known)}). Offer "
                'them, or send "auto".'
            )
