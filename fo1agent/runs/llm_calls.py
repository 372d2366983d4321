"""Calls of language models: told to whoever watches the run that makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Watching(Protocol):
    """What watches a run, as far as calls of a language model go."""

    def call(self, kind: str, model: str, pixels: int = 0, provider: str = "") -> AbstractContextManager[Any]: ...
    def tokens(self, span: Any, read: int | None, written: int | None) -> None: ...


CURRENT: ContextVar[Watching | None] = ContextVar("fo1agent_watch", default=None)
"""What watches the run that computes."""


class LlmCall:
    """A call of a language model; tell `tokens` when the reply says how many there were."""

    def __init__(self, watch: Watching | None, span: Any) -> None:
        self._watch = watch
        self._span = span

    def tokens(self, read: int | None, written: int | None) -> None:
        """What the model read and wrote; None for what it does not say."""
        if self._watch is not None:
            self._watch.tokens(self._span, read, written)


@contextmanager
def llm_call(model: str, provider: str = "") -> Iterator[LlmCall]:
    """A call of a language model, counted and told for the run that makes it; outside of a run nothing is.

        with llm_call("gpt-5", "openai") as call:
            reply = client.chat.completions.create(…)
            call.tokens(reply.usage.prompt_tokens, reply.usage.completion_tokens)

    Args:
        model: its name.
        provider: as OpenTelemetry calls it: `openai`, `anthropic`, …; "" if it is not known.
    """
    watch = CURRENT.get()
    if watch is None:
        yield LlmCall(None, None)
        return
    with watch.call("llm", model, provider=provider) as span:
        yield LlmCall(watch, span)
