"""The tool that asks: a question about a picture, answered by an agent, as hosts of tools may call it.

It is for whoever has tools and no agent of ours. An agent's own loop is not given it, for it would ask itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator

from fo1agent.errors import AgentError, ToolFailed
from fo1agent.results import AskResult
from fo1agent.runs.answer import Answer
from fo1agent.runs.budget import MAX_QUESTION
from fo1agent.runs.step import StepRecord
from fo1agent.scene import Scene
from fo1agent.tools.base import Tool, tool
from fo1agent.untrusted import PICTURE_WORDS, UntrustedText

Answering = Callable[[Scene, str, Sequence[str]], Answer]
"""Answers a question about an open picture; called with the questions before it as well."""

_MOST_BEFORE = 64


def _short(given: list[str]) -> list[str]:
    if len(given) > _MOST_BEFORE or any(len(one) > MAX_QUESTION for one in given):
        raise ValueError(f"must be at most {_MOST_BEFORE} questions of at most {MAX_QUESTION} characters")
    return given


_Before = Annotated[list[str], AfterValidator(_short)]  # not told in its schema, which strict modes would not take


def asking(answering: Answering) -> Tool:
    """The tool `ask` of whoever answers."""

    @tool
    def ask(scene: Scene, question: str, before: _Before | None = None) -> AskResult:
        """Answer a question about the picture, in words and as a value, with the regions that prove it.

        It plans by itself what to find, count, compare and read, and says what it cannot tell.

        Args:
            question: one question in English, or several: "How many people are left of the bus?".
            before: earlier questions about this picture, oldest first, that “it” and “they” may go back to. Leave out
                for the first.
        """
        try:
            return _told(answering(scene, question, tuple(before or ())))
        except AgentError as exc:
            raise ToolFailed(str(exc)) from exc

    return ask


def _by_the_rules(scene: Scene, question: str, before: Sequence[str]) -> Answer:
    from fo1agent.agent.loop import Agent  # hosts are greeted before anybody asks

    return Agent().ask(scene, question, before=before)


ask = replace(asking(_by_the_rules), home=(__name__, "ask"))
"""The tool, answered by the rules, which need no language model, within the limits of `Budget`."""


def with_asking(tools: Mapping[str, Tool], answering: Answering | None = None) -> dict[str, Tool]:
    """Tools, and the one that asks; a tool of that name among them stays.

    Args:
        tools: name → tool, as `registry` gives them.
        answering: who answers; the rules if absent.
    """
    one = ask if answering is None else asking(answering)
    return {**tools, one.name: tools.get(one.name, one)}


def _told(answer: Answer) -> AskResult:
    seen = any(_is_seen(record) for record in answer.trace)
    return AskResult(
        text=UntrustedText(answer.text) if seen else answer.text,
        value=answer.value,
        abstained=answer.abstained,
        reason=UntrustedText(answer.reason) if seen else answer.reason,
        bounds=answer.bounds,
        evidence=answer.evidence,
        steps=tuple(_lines(answer.trace)),
        unsupported=answer.unsupported,
        not_judged=answer.not_judged,
        note=" ".join(answer.notes),
    )


def _lines(trace: Sequence[StepRecord]) -> Iterator[str]:
    for record in trace:
        line = f"{record.id} {record.tool} {record.error or record.text}"
        yield UntrustedText(line) if _is_seen(record) else line


def _is_seen(record: StepRecord) -> bool:
    """Whether what a step gave are words out of the picture."""
    return record.tool in PICTURE_WORDS or isinstance(record.value, UntrustedText)
