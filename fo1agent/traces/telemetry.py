"""OpenTelemetry spans of a run, its steps and its calls of models, where the application has set OpenTelemetry up.

Names and attributes follow the semantic conventions for generative AI where those have a word for it; ours begin with
`fo1agent.`. Nothing that was asked or read off a picture is told, unless
`OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true` asks for it, the variable that other libraries go by as well.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fo1agent.runs.events import AnswerEvent, Event, PlanEvent
from fo1agent.runs.step import StepEnd, StepStart
from fo1agent.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def start(question: str, planner: str, llm: str | None) -> Spans | None:
    """Begin the span of a run, as a child of the current one; None where nobody records spans."""
    # Whoever records spans has imported the API, or lets it load an implementation by this variable; for the others
    # the import would cost time and give nothing.
    if "opentelemetry.trace" not in sys.modules and "OTEL_PYTHON_TRACER_PROVIDER" not in os.environ:
        return None
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    tracer = trace.get_tracer("fo1agent", __version__)
    span = tracer.start_span(
        "invoke_agent fo1agent",
        attributes={
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "fo1agent",
            "gen_ai.agent.version": __version__,
            "fo1agent.planner": planner,
            **({"gen_ai.request.model": llm} if llm else {}),
            **({"gen_ai.input.messages": _message("user", question)} if _captures() else {}),
        },
    )
    return Spans(tracer, span) if span.is_recording() else None


class Spans:
    """The spans of one run.

    The spans are current while the run computes and not while a caller looks at an event, so `within` is entered for
    each event anew: what is current in a generator would otherwise be so for its caller too.
    """

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._run = span
        self._step: Span | None = None

    @contextmanager
    def within(self) -> Iterator[None]:
        """Make the span of the step, or else of the run, the current one; an exception is put down in the run's."""
        from opentelemetry import trace

        with trace.use_span(self._step or self._run, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except Exception as exc:
                _failed(self._run, exc)
                self.end()
                raise

    def opened(self, scene: Any) -> None:
        """Tell which picture it is, and which model looks at it."""
        model = getattr(scene, "model", None)
        known = {
            "fo1agent.image.id": _at_hand(scene, "id"),
            "fo1agent.image.width": _at_hand(scene, "width"),
            "fo1agent.image.height": _at_hand(scene, "height"),
            "fo1agent.model": getattr(model, "name", None),
        }
        self._run.set_attributes({name: value for name, value in known.items() if value is not None})

    def tell(self, event: Event) -> None:
        """Begin or end the span that an event is about."""
        if isinstance(event, PlanEvent):
            self._run.set_attributes({"fo1agent.plan.steps": len(event.plan.steps) - 1})
        elif isinstance(event, StepStart):
            self._begin(event)
        elif isinstance(event, StepEnd):
            self._end(event)
        elif isinstance(event, AnswerEvent):
            self._run.set_attributes(
                {
                    "fo1agent.abstained": event.answer.abstained,
                    "fo1agent.steps": len(event.answer.trace),
                    "fo1agent.evidence": len(event.answer.evidence),
                    "fo1agent.not_judged": len(event.answer.not_judged),
                    "fo1agent.unsupported": len(event.answer.unsupported),
                    **({"gen_ai.output.messages": _message("assistant", event.answer.text)} if _captures() else {}),
                }
            )
            self.end()

    @contextmanager
    def call(self, kind: str, model: str, pixels: int = 0, provider: str = "fo1agent") -> Iterator[Span]:
        """A call of a model as the span of what runs inside."""
        from opentelemetry.trace import SpanKind

        operation = "chat" if kind == "llm" else kind
        with self._tracer.start_as_current_span(
            f"{operation} {model}",
            kind=SpanKind.CLIENT if kind == "llm" else SpanKind.INTERNAL,
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": model,
                **({"fo1agent.pixels": pixels} if pixels else {}),
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as exc:
                _failed(span, exc)
                raise

    def end(self) -> None:
        """End every span that is still open, such as those of a run that nobody listens to any more."""
        for span in (self._step, self._run):
            if span is not None and span.is_recording():
                span.end()
        self._step = None

    def _begin(self, event: StepStart) -> None:
        from opentelemetry import trace

        self._step = self._tracer.start_span(
            f"execute_tool {event.tool}",
            context=trace.set_span_in_context(self._run),
            attributes={
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": event.tool,
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.id": event.id,
                "fo1agent.step.number": event.number,
                **({"gen_ai.tool.call.arguments": _json(event.args)} if _captures() else {}),
            },
        )

    def _end(self, event: StepEnd) -> None:
        if self._step is None:
            return
        record = event.record
        self._step.set_attributes(
            {
                "fo1agent.step.ok": not record.error,
                "fo1agent.step.regions": len(record.regions),
                **({"gen_ai.tool.call.result": record.text} if _captures() else {}),
            }
        )
        self._step.end()
        self._step = None


def told_tokens(span: Any, input_tokens: int | None, output_tokens: int | None) -> None:
    """Put what a language model read and wrote on the span of its call."""
    if span is None:
        return
    for name, tokens in (("input", input_tokens), ("output", output_tokens)):
        if tokens is not None:
            span.set_attribute(f"gen_ai.usage.{name}_tokens", tokens)


def _failed(span: Span, exc: Exception) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", type(exc).__name__)
    # The message may name what was asked for, or a file.
    span.set_status(StatusCode.ERROR, str(exc) if _captures() else None)


def _captures() -> bool:
    return os.environ.get(CAPTURE, "").lower() == "true"


def _message(role: str, text: str) -> str:
    return _json([{"role": role, "parts": [{"type": "text", "content": text}]}])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _at_hand(scene: Any, name: str) -> Any:
    """What a scene knows of itself; None where it would first have to ask: to be watched changes no run."""
    try:
        return getattr(scene, name, None)
    except Exception:
        return None
