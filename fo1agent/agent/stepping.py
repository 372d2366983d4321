"""Step by step: a chat model calls tools until it knows the answer, and gives it with the regions that it rests on.

What it says is checked against the results of the tools: a region that was in no result is not evidence, and what no
result supports is named as such. Text from pictures reaches it between marks, and pictures, if it takes any, in user
messages.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from fo1agent import prompts
from fo1agent.agent.claims import Claim, Verdict, checked, cited, open_in_question
from fo1agent.agent.support import Results, numbers_in, rests_on_something, stands_in, unfounded
from fo1agent.errors import BudgetExceeded, InputError
from fo1agent.pictures.attached import Drawn
from fo1agent.planners.conversation import Call, ChatModel, ChatUnavailable, Conversation, Function
from fo1agent.plans.language import LARGEST, Number
from fo1agent.regions.regions import Region, Regions
from fo1agent.results import PointResult, bound, line_of, value_of
from fo1agent.runs.answer import Answer, Bounds, known_of
from fo1agent.runs.budget import Meter
from fo1agent.runs.events import AnswerEvent, Event, Partial
from fo1agent.runs.step import FailureKind, StepEnd, StepRecord, StepStart
from fo1agent.tools.base import Outcome, Tool, complaint
from fo1agent.tools.schemas import plain, without_absent
from fo1agent.tools.telling import told
from fo1agent.words.english import listed

REPAIRS = 2
"""How many unusable replies in a row are sent back to the model."""

_MOST_CITED = 64  # regions that an answer in plain text may name
_SHOWN_SIDE = 1024  # pixels of the longer side of the picture as a chat model is shown it


_Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
_Text = Annotated[str, Field(max_length=4000)]


class _Final(BaseModel):
    """What `answer` takes."""

    text: str = Field(description="The answer in one or two sentences.", min_length=1, max_length=4000)
    value: Number | _Number | bool | _Text | None = Field(
        None,
        description="The answer alone: a number, true or false, or a word. "
        "null where it hangs on words that could not be judged.",
    )
    claims: list[Claim] = Field(
        default=[], description="What the answer says, each claim with its regions.", max_length=64
    )
    not_judged: list[Annotated[str, Field(max_length=200)]] = Field(
        default=[],
        description="Words of the question that results name in not_judged and that the answer leaves open.",
        max_length=64,
    )
    at_least: _Number | None = Field(None, description="With not_judged, for a number: there are no fewer.")
    at_most: _Number | None = Field(None, description="With not_judged, for a number: there are no more.")
    cannot_tell: bool = Field(False, description="True if the question cannot be answered; the text then says why.")


class Stepper:
    """Answers questions about pictures by a chat model that calls tools.

    Args:
        chat: the model.
        tools: name → tool.
        lock: held while a tool computes.
        verify: whether claims are checked on the picture before the answer is given.
    """

    def __init__(
        self, chat: ChatModel, tools: Mapping[str, Tool], lock: AbstractContextManager[Any], verify: bool = False
    ) -> None:
        # A drawing is of use only to a model that can see it.
        self.tools = {name: tool for name, tool in tools.items() if chat.takes_images or not tool.draws}
        if "answer" in self.tools:
            raise InputError('A tool may not be called "answer": with that a chat model answers. Rename it.')
        self.chat = chat
        self.lock = lock
        self.verify = verify

    def events(self, scene: Any, question: str, meter: Meter, trace: list[StepRecord]) -> Iterator[Event]:
        """Answer a question on an open scene.

        Args:
            scene: the picture.
            question: as the user asked it.
            meter: pays for replies and tools.
            trace: each step is added to it.

        Raises:
            ChatUnavailable: the model gives no usable reply; until then only steps have been reported.
        """
        return _Stepping(self, scene, question, meter, trace).events()


class _Stepping:
    """One question."""

    def __init__(self, stepper: Stepper, scene: Any, question: str, meter: Meter, trace: list[StepRecord]) -> None:
        self.of = stepper
        self.scene = scene
        self.question = question
        self.meter = meter
        self.trace = trace
        self.known: dict[str, Region] = {}  # by short id: what was in results
        self.results = Results()
        self.spent = ""  # the limit on tools that was reached
        self.talk = Conversation(stepper.chat, prompts.render("agent_steps"), self._functions(), meter)

    def events(self) -> Iterator[Event]:
        try:
            final = yield from self._converse()
        except BudgetExceeded as exc:
            final = None
            self.spent = str(exc)
        yield from self._concluded(final)

    def _functions(self) -> list[Function]:
        functions = [
            Function(tool.name, tool.description, plain(tool.arguments, f"The tool {tool.name}"))
            for tool in self.of.tools.values()
        ]
        return [*functions, Function("answer", "Answer the question.", plain(_Final, "The answer"))]

    def _converse(self) -> Iterator[Event]:
        """Ask and run until there is an answer, which is the generator's own result."""
        self.talk.say(self.question, self._picture())
        mended = 0
        while True:
            reply = self.talk.ask(words_will_do=bool(self.trace))
            if not reply.calls:
                if self.trace and reply.text.strip():
                    return self._in_words(reply.text.strip())
                mended = self._mended(mended, "no call")
                self.talk.say("Call a function, or answer.")
                continue
            final: _Final | None = None
            wrong = 0
            for call in reply.calls:
                if call.name == "answer":
                    final = final or self._final(call)
                    wrong += final is None
                elif final is not None:
                    self.talk.result(call, "Not run: there is an answer already.", failed=True)
                elif self.spent:
                    raise BudgetExceeded(self.spent)
                else:
                    ran = yield from self._step(call)
                    wrong += not ran
            if final is not None:
                return final
            mended = self._mended(mended, "no call that can be run") if wrong == len(reply.calls) else 0

    def _mended(self, before: int, what: str) -> int:
        """How often in a row a reply was of no use.

        Raises:
            ChatUnavailable: once too often.
        """
        if before >= REPAIRS:
            raise ChatUnavailable(f"{self.of.chat.name} wrote {what} in {1 + REPAIRS} replies")
        return before + 1

    def _picture(self) -> list[Drawn]:
        image = getattr(self.scene, "image", None)
        if image is None or not self.of.chat.takes_images:
            return []
        shown = image.copy()
        shown.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
        self.meter.look_at(shown.width * shown.height)
        file = io.BytesIO()
        shown.convert("RGB").save(file, "JPEG", quality=90)
        return [Drawn("image/jpeg", base64.b64encode(file.getvalue()).decode("ascii"))]

    # ---- tools ----

    def _step(self, call: Call) -> Iterator[Event]:
        """Run a tool and tell the model; whether it could be run at all is the generator's own result."""
        tool = self.of.tools.get(call.name)
        if tool is None or call.error:
            names = ", ".join((*self.of.tools, "answer"))
            self.talk.result(call, call.error or f"There is no function {call.name[:64]!r}: {names}.", failed=True)
            return False
        try:
            self.meter.step()
            self.meter.model_call(self._pixels(call))
        except BudgetExceeded as exc:
            self.meter.check_time()  # then no answer would come in time either
            self.spent = str(exc)
            self.talk.result(call, f"{self.spent}: no more calls. Answer with what you know.", failed=True)
            return True
        number = len(self.trace) + 1
        arguments = without_absent(tool, call.arguments)
        yield StepStart(number, call.id, tool.name, arguments)
        start = time.perf_counter()
        try:
            with self.of.lock:
                outcome, record = run_tool(tool, self.scene, call.id, arguments)
        except BudgetExceeded as exc:  # its server was waited for long enough
            seconds = time.perf_counter() - start
            record = failed_step(call.id, tool.name, arguments, str(exc), "budget", seconds)
            self.trace.append(record)
            yield StepEnd(number, record)
            raise
        text, pictures = told(outcome)
        self.trace.append(record)
        self.known.update({region.name: region for region in record.regions})
        self.results.add(outcome, f"{tool.name} {sorted(arguments.items())}", tool.ours)
        self.talk.result(call, text, pictures if self.of.chat.takes_images else (), failed=not outcome.ok)
        yield StepEnd(number, record)
        return True

    def _pixels(self, call: Call) -> int:
        """What a tool is handed of the picture: the whole, or about its region."""
        if call.name not in ("read", "describe", "inspect", "zoom"):
            return 0
        region = call.arguments.get("region")
        try:
            return round(self.scene.region(region).area) if isinstance(region, str) else self._whole()
        except InputError:
            return 0  # the tool will say that there is no such region

    def _whole(self) -> int:
        return self.scene.width * self.scene.height

    # ---- the answer ----

    def _final(self, call: Call) -> _Final | None:
        """The answer that a call gives, or None and a complaint to the model."""
        try:
            final = _Final.model_validate(without_nulls(call.arguments))
        except ValidationError as exc:
            self.talk.result(call, call.error or complaint(exc), failed=True)
            return None
        if self.trace or final.cannot_tell:
            return final
        self.talk.result(call, "You have looked at nothing yet. Call the functions first.", failed=True)
        return None

    def _in_words(self, text: str) -> _Final:
        """An answer in plain text: each region that it names is claimed to be what the tools called it."""
        text = text[:4000]
        claims: dict[str, list[str]] = {}
        for name in cited(text)[:_MOST_CITED]:
            label = self.known[name].label if name in self.known else None
            claims.setdefault(label or "", []).append(name)
        said = [Claim(what=what, regions=names, count=None, says=None) for what, names in claims.items()]
        return _Final(text=text, value=None, claims=said, at_least=None, at_most=None, cannot_tell=False)

    def _concluded(self, final: _Final | None) -> Iterator[Event]:
        if final is None:
            yield self._answer(f"I stopped before this was answered: {self.spent}.", reason=self.spent)
            return
        if final.cannot_tell:
            yield self._answer(final.text, reason=final.text)
            return
        if self.of.verify:
            yield Partial(final.text)
        with self.of.lock:
            verdict = checked(
                final.claims, cited(final.text), self.known, self.results, self.scene, self.meter, self.of.verify
            )
        wrong = self._without_support(final, verdict)
        evidence = Regions.from_list(verdict.evidence)
        unsupported = tuple(dict.fromkeys((*verdict.unsupported, *wrong)))
        left_open = self._left_open(final)
        refuted = isinstance(final.value, (int, float)) and final.value in verdict.refuted
        is_open = final.value is None and bool(final.not_judged)
        nothing_left = verdict.nothing_left and bool(final.claims or not is_open)
        if nothing_left or (self.of.verify and (wrong or refuted)):
            nothing = "nothing that was claimed is borne out by the picture"
            reason = "; ".join(wrong) or (nothing if nothing_left else "; ".join(unsupported))
            text = f"I can't tell: {reason}."
            yield self._answer(text, reason=reason, unsupported=unsupported, not_judged=left_open)
            return
        flagged = f" (Not borne out: {'; '.join(unsupported)}.)" if unsupported else ""
        text = final.text + flagged
        if is_open:
            reason = f"I can't judge {listed([f'“{word}”' for word in left_open or final.not_judged])}"
            bounds = self._bounds(final)
            fields = {"unsupported": unsupported, "not_judged": left_open, "bounds": bounds}
            yield self._answer(text, reason=reason, evidence=evidence, **fields)
            return
        value = final.text if final.value is None else final.value
        yield self._answer(text, value, evidence=evidence, unsupported=unsupported, not_judged=left_open)

    def _without_support(self, final: _Final, verdict: Verdict) -> list[str]:
        """Why an answer as a whole is not borne out by any result; nothing if it is."""
        results, asked = self.results, numbers_in(self.question)
        wrong = [f"“{word}” could not be judged" for word in self._claimed_unjudged(final)]
        number = final.value if isinstance(final.value, (int, float)) and not isinstance(final.value, bool) else None
        told = unfounded(final.text, self.question, results)
        if number is not None and not results.gives(number, asked):
            told.append(number)
        claimed = {claim.count for claim in final.claims}  # these have been held to the results already
        wrong += [f"{one:g}: no result says so" for one in dict.fromkeys(told) if one not in claimed]
        stands = verdict.evidence or verdict.counted or verdict.unsupported or final.not_judged or wrong
        if not stands and not rests_on_something(final.text, final.value, self.question, results):
            wrong.append("no result says so")
        return wrong

    def _claimed_unjudged(self, final: _Final) -> list[str]:
        """Words that could not be judged, which the answer takes for true or false all the same."""
        if self.results.own:  # it may have judged what our tools cannot
            return []
        words = self.results.open_words(f"{final.text}\n{self.question}", final.not_judged)
        if final.value or not self.results.nothing:  # where there is no cat, there is no dead one
            words += open_in_question(self.question, self.scene)
        told = " ".join(final.not_judged)
        return list(dict.fromkeys(word for word in words if not stands_in(word, told)))

    def _left_open(self, final: _Final) -> tuple[str, ...]:
        """The words that results could not judge and that the answer or the question speaks of."""
        known = [word for word in final.not_judged if stands_in(word, self.question)]
        known += [
            word
            for word in self.results.not_judged
            if word in final.not_judged or stands_in(word, self.question) or stands_in(word, final.text)
        ]
        return tuple(dict.fromkeys(known))

    def _bounds(self, final: _Final) -> Bounds | None:
        """The bounds that an answer gives, where results bear them out."""
        known = {
            side: (int(number) if number.is_integer() else number)
            for side, number in (("at_least", final.at_least), ("at_most", final.at_most))
            if number is not None and (self.results.bounds(number) or self.results.gives(number))
        }
        return {"at_least": known.get("at_least"), "at_most": known.get("at_most")} if known else None

    def _answer(self, text: str, value: Any = None, evidence: Regions | None = None, **fields: Any) -> AnswerEvent:
        evidence = evidence or Regions.empty()
        return AnswerEvent(
            Answer(
                self.question,
                text,
                value,
                abstained=value is None,
                evidence=evidence,
                candidates=Regions.from_list([r for r in self.known.values() if r.id not in evidence.ids]),
                trace=tuple(self.trace),
                planner=self.of.chat.name,
                notes=known_of(self.scene),
                seconds=self.meter.seconds,
                image=getattr(self.scene, "image", None),
                **fields,
            )
        )


def run_tool(tool: Tool, scene: Any, call_id: str, arguments: Mapping[str, Any]) -> tuple[Outcome, StepRecord]:
    """Call a tool on a scene: its outcome, and the step."""
    start = time.perf_counter()
    outcome = tool.call(scene, arguments)
    result = outcome.result
    if not outcome.ok:
        seconds = time.perf_counter() - start
        return outcome, failed_step(call_id, tool.name, arguments, outcome.error, "error", seconds)
    regions = bound(result, scene, arguments)
    return outcome, StepRecord(
        call_id,
        tool.name,
        dict(arguments),
        asked=_asked(arguments),
        gave=line_of(result, regions),
        value=value_of(result),
        regions=regions,
        seconds=time.perf_counter() - start,
        not_judged=tuple(getattr(result, "not_judged", ())),
        points=tuple((one.x, one.y) for one in result.points) if isinstance(result, PointResult) else (),
    )


def _asked(arguments: Mapping[str, Any]) -> str:
    return " ".join(f"“{v}”" if k in ("phrase", "question") else str(v) for k, v in arguments.items() if v is not None)


def failed_step(
    call_id: str, tool: str, arguments: Mapping[str, Any], why: str, kind: FailureKind, seconds: float = 0.0
) -> StepRecord:
    """The record of a tool's call that gave no result."""
    return StepRecord(call_id, tool, dict(arguments), "", why, None, Regions.empty(), seconds, why, kind)


def without_nulls(value: Any) -> Any:
    """JSON without the nulls that models write for what they leave out."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value
