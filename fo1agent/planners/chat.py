"""Plans by a chat model: asked for the steps of the closed plan language, never for code.

The model sees the question and, when asked again, what the steps gave, with text out of the picture fenced. It sees no
picture, so that nothing written in one can change the first plan. A plan that is none, or a call of another function,
goes back with the complaint, at most twice; where no plan comes, the rules make one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fo1agent import bounded, prompts
from fo1agent.errors import PlanError
from fo1agent.planners.base import NotUnderstood, Planned, in_its_talk
from fo1agent.planners.conversation import Call, ChatModel, ChatUnavailable, Conversation, Function
from fo1agent.planners.rules import RulePlanner
from fo1agent.plans.language import MAX_CHARACTERS, AnyStep, Offered, Plan
from fo1agent.runs.budget import Budget, Meter
from fo1agent.runs.step import StepRecord
from fo1agent.tools.base import unknown_names
from fo1agent.tools.schemas import plain
from fo1agent.untrusted import PICTURE_WORDS, UntrustedText

REPAIRS = 2
"""So often a plan that is none goes back to the model."""

_NAME = "plan"  # of the function that a model calls


class ChatPlanner:
    """Lets a chat model plan.

    Args:
        chat: the model.
        tools: name → tool that a plan may use beside the operations of plans.

    Attributes:
        name: the model's.
    """

    def __init__(self, chat: ChatModel, tools: Mapping[str, Offered] | None = None) -> None:
        self.chat = chat
        self.tools = tools or {}
        self.name = chat.name

    def plan(self, question: str) -> Plan | NotUnderstood:
        """The plan for a question, on a budget of its own."""
        return self.session(question, Meter(Budget()), None).plan().plan

    def session(
        self, question: str, meter: Meter, vocabulary: Sequence[str] | None, before: Sequence[str] = ()
    ) -> ChatSession:
        """One question, which can be planned again; see `SessionPlanner`."""
        return ChatSession(self.chat, question, meter, vocabulary, before, self.tools)


class ChatSession:
    """One question with a chat model that plans; see `base.Session`."""

    def __init__(
        self,
        chat: ChatModel,
        question: str,
        meter: Meter,
        vocabulary: Sequence[str] | None,
        before: Sequence[str] = (),
        tools: Mapping[str, Offered] | None = None,
    ) -> None:
        self.question = question
        self.before = before
        self.tools = tools or {}
        system = prompts.render("agent_plan")
        if vocabulary is not None:
            system += "\n\n" + prompts.render("agent_vocabulary", ", ".join(vocabulary))
        if self.tools:
            system += "\n\n" + prompts.render("agent_plan_tools", "\n".join(map(_described, self.tools.values())))
        self._talk = Conversation(chat, system, [plan_function(self.tools.values())], meter)
        self._talk.say(in_its_talk(question, before))
        self._last: tuple[Call, Plan] | None = None

    def plan(self) -> Planned:
        """The model's plan, or the rules' where none comes from it; the note then says why."""
        try:
            plan, why = self._asked()
        except ChatUnavailable as exc:
            plan, why = None, str(exc)
        name = self._talk.chat.name
        if plan is not None:
            return Planned(plan, name)
        return Planned(
            RulePlanner().plan(self.question, self.before), RulePlanner.name, f"The rules planned this: {why}."
        )

    def replan(self, records: Sequence[StepRecord]) -> Planned | None:
        """Another plan on what was found; None when the model has none, keeps the last one, or gives no reply."""
        if self._last is None:  # the rules planned, or there was no plan
            return None
        call, before = self._last
        self._talk.result(call, prompts.render("agent_replan", "\n".join(_told(record) for record in records)))
        try:
            plan, _ = self._asked()
        except ChatUnavailable:
            return None
        if not isinstance(plan, Plan) or plan.steps == before.steps:
            return None
        return Planned(plan, self._talk.chat.name)

    def _asked(self) -> tuple[Plan | NotUnderstood | None, str]:
        """(plan, or what the model says why there can be none, or None; what was wrong with its last reply).

        Raises:
            ChatUnavailable, BudgetExceeded: as `Conversation.ask`.
        """
        complaint = ""
        for _ in range(1 + REPAIRS):
            reply = self._talk.ask()
            if not reply.calls:
                complaint = "the reply holds no plan"
                self._talk.say(
                    f"That is no plan. The only function is {_NAME}: reply with its steps as JSON, and with nothing "
                    "else."
                )
                continue
            for other in reply.calls[1:]:
                self._talk.result(other, "Only the first call is read.", failed=True)
            call = reply.calls[0]
            try:
                plan = self._parsed(call)
            except PlanError as exc:
                complaint = str(exc)
                self._talk.result(call, complaint, failed=True)
                continue
            if isinstance(plan, Plan):
                self._last = call, plan
            return plan, ""
        short = complaint if len(complaint) <= 200 else complaint[:200] + "…"
        return None, f"{self._talk.chat.name} wrote no valid plan in {1 + REPAIRS} tries ({short.rstrip('.')})"

    def _parsed(self, call: Call) -> Plan | NotUnderstood:
        if call.name != _NAME:
            raise PlanError(
                f"There is no function {call.name[:64]!r}. The only one is {_NAME}: call it with the steps."
            )
        if call.error:
            raise PlanError(f"Not a plan: {call.error}.")
        steps, why = call.arguments.get("steps"), call.arguments.get("why_not")
        if steps is None and not why:
            given = ", ".join(list(call.arguments)[:8]) or "nothing"
            raise PlanError(f"Not a plan: steps is missing, got {given[:200]}. Where there is no plan, say why_not.")
        if isinstance(steps, str):  # some models write lists as text
            try:
                steps = bounded.parse(steps, MAX_CHARACTERS)
            except ValueError as exc:
                raise PlanError(f"Not a plan: steps is no JSON list ({exc}).") from exc
        if not steps:
            why = str(why or "").strip().rstrip(".")
            return NotUnderstood(why[:300] or f"{self._talk.chat.name} has no plan for that question")
        if not isinstance(steps, list):
            raise PlanError(f"Not a plan: steps must be a list, got {type(steps).__name__}.")
        # Models that must fill in every field write null for those that a step does without.
        steps = [
            {key: value for key, value in step.items() if value is not None} if isinstance(step, dict) else step
            for step in steps
        ]
        return Plan.parse({"question": self.question, "steps": list(map(self._with_tool, steps))})

    def _with_tool(self, step: Any) -> Any:
        """A step as a model writes it; one that uses a tool with what a plan says of it: what the tool gives, and which
        of its arguments are the regions of a step.

        Raises:
            PlanError: there is no tool of that name, or it has no such argument.
        """
        if not isinstance(step, dict) or step.get("op") != "tool":
            return step
        name, args, of = step.get("name"), step.get("args") or {}, step.get("of") or {}
        tool = self.tools.get(name) if isinstance(name, str) else None
        if tool is None:
            known = ", ".join(self.tools) or "none"
            raise PlanError(f"Not a plan: there is no tool {str(name)[:64]!r}; there are: {known}.")
        if isinstance(of, str) and tool.places:
            of = {tool.places[0]: of}
        if not isinstance(args, dict) or not isinstance(of, dict):
            raise PlanError(f"Not a plan: args of the tool {name} must be an object.")
        if said := unknown_names([*args, *of], list(tool.arguments)):
            raise PlanError(f"Not a plan: {name}: {said}.")
        given = {key: value for key, value in args.items() if value is not None}
        refs = {key: one for key, one in given.items() if isinstance(one, str) and re.fullmatch("s[0-9]+", one)}
        rest = {key: one for key, one in given.items() if key not in refs}
        return {**step, "args": rest, "of": {**of, **refs}, "gives": tool.gives}


class _Arguments(BaseModel):
    """What `plan` takes."""

    model_config = ConfigDict(defer_build=True)  # most processes ask no chat model

    steps: list[AnyStep] = Field(description="The steps in order, the last an answer; none if there is no plan.")
    why_not: str = Field("", description="Only without steps: why no plan can answer the question.")


def plan_function(tools: Iterable[Offered] = ()) -> Function:
    """The function that a chat model calls with its plan; its schema is the plan language's own.

    Args:
        tools: that its steps may use.
    """
    parts: dict[str, Any] = _plan_schema()["properties"]
    # `oneOf` with a discriminator is pydantic's; `anyOf` is what endpoints that decode under a schema know.
    items = parts["steps"]["items"]["oneOf"]
    steps = [_step_schema(one) for one in items if one["properties"]["op"]["const"] != "tool"]
    steps += map(_tool_schema, tools)
    schema = {
        **_plan_schema(),
        "properties": {**parts, "steps": {**parts["steps"], "items": {"anyOf": steps}}},
        "additionalProperties": False,
    }
    return Function(_NAME, "Carry out these steps to answer the question.", schema)


@cache
def _plan_schema() -> dict[str, Any]:
    schema = plain(_Arguments, "A plan")
    schema.pop("description", None)
    return schema


def _step_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """One kind of step: its op is required, and nothing is described that the system prompt describes already."""
    properties = {
        name: {key: value for key, value in one.items() if key not in ("description", "default", "title")}
        for name, one in schema["properties"].items()
    }
    order = ["op", "id", *(name for name in properties if name not in ("op", "id"))]
    return {
        "type": "object",
        "properties": {name: properties[name] for name in order},
        "required": ["op", *schema["required"]],
        "additionalProperties": False,
    }


def _tool_schema(tool: Offered) -> dict[str, Any]:
    """A step that uses a tool: its regions are given as the ids of steps."""
    ref = {"type": "string", "pattern": "^s[0-9]+$"}
    args = {
        "type": "object",
        "properties": {name: ref if name in tool.places else dict(one) for name, one in tool.arguments.items()},
        "required": list(tool.required),
        "additionalProperties": False,
    }
    op, name = ({"const": one, "type": "string"} for one in ("tool", tool.name))
    properties = {"op": op, "id": ref, "name": name, "args": args}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _described(tool: Offered) -> str:
    """A tool in a line, for the system prompt."""
    what = {"regions": "regions", "number": "a number", "bool": "yes or no", "text": "words"}[tool.gives]
    places = {name: "the id of a step that gives regions. " for name in tool.places}
    args = [f"{name}: {places.get(name, '')}{one.get('description', '')}" for name, one in tool.arguments.items()]
    return f"{tool.name} gives {what}: {' '.join(tool.description.split())} args: {'; '.join(args) or 'none'}."


def _told(record: StepRecord) -> str:
    """What a step gave, in a line; words out of the picture fenced."""
    arguments = json.dumps(record.args, ensure_ascii=False)
    text = record.error or record.text
    if record.not_judged and "not judged: " not in text:
        text += f"  not judged: {', '.join(record.not_judged)}"
    if record.tool in PICTURE_WORDS or isinstance(record.value, UntrustedText):
        text = UntrustedText(text).fenced()
    return f"{record.id} {record.tool} {arguments}: {'failed: ' if record.error else ''}{text}"
