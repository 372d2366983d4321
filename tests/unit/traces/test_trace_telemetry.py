"""OpenTelemetry spans of a run: their tree, their names, and that they say nothing of what was asked or read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from PIL import Image

from fo1agent.agent import Agent, StepStart
from fo1agent.errors import ImageError
from fo1agent.integrations.rule_chat import RulePlannerChatModel
from fo1agent.pictures.ocr import TextLine
from fo1agent.planners.rules import RulePlanner
from fo1agent.runs.llm_calls import llm_call
from fo1agent.scene import Model
from fo1agent.traces import telemetry
from fo1agent.untrusted import UntrustedText
from tests.fakes import FakePredictor

OBJECTS = [
    ((20.0, 200.0, 60.0, 330.0), "person", 0.91),
    ((200.0, 100.0, 400.0, 330.0), "bus", 0.94),
]
QUESTION = "How many people are to the left of the bus, and what does it say?"


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    """The process's provider; OpenTelemetry lets it be set once."""
    provider = TracerProvider()
    otel.set_tracer_provider(provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    provider.add_span_processor(processor)
    yield exporter
    exporter.shutdown()


def read_a_secret(image: Image.Image, *, min_score: float = 0.5) -> list[TextLine]:
    return [TextLine(UntrustedText("SECRET"), (0, 0, 10, 10), 0.9)]


@pytest.fixture
def model() -> Model:
    return Model(FakePredictor(OBJECTS), ocr=read_a_secret)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    Image.new("RGB", (640, 480), "gray").save(path)
    return path


def tree(spans: InMemorySpanExporter) -> dict[str, list[str]]:
    """Span name → names of its children, in the order they began; names that come twice are joined."""
    done = sorted(spans.get_finished_spans(), key=lambda span: span.start_time or 0)
    children: dict[str, list[str]] = {}
    for span in done:
        parent = next((p.name for p in done if span.parent and p.get_span_context() == span.parent), "")
        children.setdefault(parent, []).append(span.name)
    return children


def named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    return next(span for span in spans.get_finished_spans() if span.name == name)


def test_run_steps_and_calls_are_a_tree(spans: InMemorySpanExporter, model: Model, photo: Path) -> None:
    Agent(model).ask(photo, QUESTION)
    told = tree(spans)
    assert told[""] == ["invoke_agent fo1agent"]
    steps = told["invoke_agent fo1agent"]
    assert steps[0] == "encode fake"
    assert set(steps[1:]) >= {"execute_tool find", "execute_tool keep", "execute_tool count", "execute_tool read"}
    assert told["execute_tool find"] == ["match fake"]
    assert "ocr read_a_secret" in told["execute_tool read"]


def test_attributes_follow_the_conventions(spans: InMemorySpanExporter, model: Model, photo: Path) -> None:
    answer = Agent(model).ask(photo, QUESTION)
    run = dict(named(spans, "invoke_agent fo1agent").attributes or {})
    assert run["gen_ai.operation.name"] == "invoke_agent"
    assert run["gen_ai.agent.name"] == "fo1agent"
    assert run["fo1agent.planner"] == "rules"
    assert run["fo1agent.model"] == "fake"
    assert run["fo1agent.image.width"] == 640
    assert run["fo1agent.abstained"] is False
    assert run["fo1agent.steps"] == len(answer.trace)
    assert (run["fo1agent.not_judged"], run["fo1agent.unsupported"]) == (0, 0)
    step = dict(named(spans, "execute_tool read").attributes or {})
    assert step["gen_ai.operation.name"] == "execute_tool"
    assert step["gen_ai.tool.name"] == "read"
    assert step["fo1agent.step.ok"] is True
    call = dict(named(spans, "encode fake").attributes or {})
    assert call["gen_ai.request.model"] == "fake"
    assert call["fo1agent.pixels"] == 640 * 480


def everything(spans: InMemorySpanExporter) -> str:
    return json.dumps([json.loads(span.to_json()) for span in spans.get_finished_spans()])


def test_nothing_that_was_asked_or_read_is_told_unless_wanted(
    spans: InMemorySpanExporter, model: Model, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(telemetry.CAPTURE, raising=False)
    assert "SECRET" in Agent(model).ask(photo, QUESTION).text
    said = everything(spans)
    assert "SECRET" not in said
    assert "people" not in said
    assert "street.png" not in said
    monkeypatch.setenv(telemetry.CAPTURE, "true")
    Agent(model).ask(photo, QUESTION)
    said = everything(spans)
    assert "SECRET" in said
    assert "people" in said


class TalkingPlanner:
    name = "talking"

    def plan(self, question: str) -> Any:
        with llm_call("gpt-nonsense", "openai") as call:
            call.tokens(100, 20)
        return RulePlanner().plan(question)


def test_calls_of_a_language_model_are_spans_with_their_tokens(
    spans: InMemorySpanExporter, model: Model, photo: Path
) -> None:
    Agent(model, planner=TalkingPlanner()).ask(photo, QUESTION)
    call = named(spans, "chat gpt-nonsense")
    attributes = dict(call.attributes or {})
    assert call.kind is otel.SpanKind.CLIENT
    assert attributes["gen_ai.provider.name"] == "openai"
    assert attributes["gen_ai.usage.input_tokens"] == 100
    assert attributes["gen_ai.usage.output_tokens"] == 20
    assert "chat gpt-nonsense" in tree(spans)["invoke_agent fo1agent"]


def test_a_run_is_a_child_of_the_callers_span_and_leaves_it_current(
    spans: InMemorySpanExporter, provider: TracerProvider, model: Model, photo: Path
) -> None:
    with provider.get_tracer("app").start_as_current_span("request") as request:
        for _ in Agent(model).stream(photo, QUESTION):
            assert otel.get_current_span() is request
        assert otel.get_current_span() is request
    assert tree(spans)["request"] == ["invoke_agent fo1agent"]


def test_a_run_that_is_left_ends_its_spans(spans: InMemorySpanExporter, model: Model, photo: Path) -> None:
    events = Agent(model).stream(photo, QUESTION)
    while not isinstance(next(events), StepStart):
        pass
    events.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert {"invoke_agent fo1agent", "execute_tool find"} <= {span.name for span in spans.get_finished_spans()}


def test_an_exception_is_told_by_its_class_alone(
    spans: InMemorySpanExporter, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(telemetry.CAPTURE, raising=False)
    with pytest.raises(ImageError):
        Agent(model).ask(tmp_path / "secret.png", QUESTION)
    run = named(spans, "invoke_agent fo1agent")
    assert run.status.status_code is otel.StatusCode.ERROR
    assert dict(run.attributes or {})["error.type"] == "ImageError"
    assert "secret.png" not in everything(spans)


WITHOUT_THE_API = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ImportError("blocked")

sys.meta_path.insert(0, Blocked())
import os
os.environ["OTEL_PYTHON_TRACER_PROVIDER"] = "sdk_tracer_provider"
from fo1agent.agent import Agent
from tests.scenes import street
print(Agent(traces=sys.argv[1]).ask(street(), "How many people are to the left of the bus?").value)
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""


def test_all_works_without_the_api(tmp_path: Path, repo: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_API, str(tmp_path)], cwd=repo, capture_output=True, text=True, timeout=120
    )
    assert run.stdout == "2\n", run.stderr
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


def test_the_api_is_not_imported_for_those_who_do_not_use_it(repo: Path) -> None:
    code = (
        "import sys; from fo1agent.agent import Agent; from tests.scenes import street;"
        "Agent().ask(street(), 'How many people are there?');"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, timeout=120)
    assert run.stdout == "[]\n", run.stderr


def test_what_would_have_to_be_asked_for_is_not_told(spans: InMemorySpanExporter) -> None:
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("look", "ground")]
    message = RulePlannerChatModel().bind_tools(tools).invoke("In img_0123abcd: Where is the bus?")
    assert [one["name"] for one in message.tool_calls] == ["look", "ground"]  # as without spans
