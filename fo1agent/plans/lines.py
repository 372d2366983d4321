"""The plan language as short lines, and its grammar as a sequence of choices.

    find "people" count
    find "bus" the
    keep s1 left_of s2
    count s3
    answer s4

Line k is step sk. `compose` asks at every place which of the possible continuations it shall be: whoever answers (a
language model, a text that is read, chance), what comes out is a plan. Phrases are words of the question in their
order, and numbers are small or stand in the question, so a plan cannot speak of anything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from fo1agent.errors import PlanError
from fo1agent.plans import language as p

Choose = Callable[[Sequence[str]], str]
"""Gives one of the options. None of them begins with another, and there is at least one."""

MOST_STEPS = 12
"""Steps of a plan, its answer included."""

_MOST_WORDS, _LONGEST_PHRASE, _MOST_REFS = 64, 6, 4
_RELATIONS: tuple[str, ...] = get_args(p.Relation)
_SIDES: tuple[str, ...] = get_args(p.Side)
_ORDERS: tuple[str, ...] = get_args(p.Order)
_PURPOSES: tuple[str, ...] = get_args(p.Purpose)
_QUANTITIES: tuple[str, ...] = get_args(p.Share.model_fields["quantity"].annotation)
_COMPARISONS = ("more", "fewer", "equal", "different", "at_least", "at_most")
_SMALL_NUMBERS = tuple(str(number) for number in range(21))
_NO_TOOLS: Mapping[str, p.Offered] = {}
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3}){1,2}|\d{1,9}")


def words_of(question: str) -> list[str]:
    """The words that phrases are made of."""
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", question.lower())[:_MOST_WORDS]


def numbers_of(question: str) -> list[str]:
    """The numbers that a plan may speak of: small ones, and those that stand in the question in digits (1,000)."""
    digits = (found.replace(",", "").lstrip("0") for found in _NUMBER.findall(question))
    return list(dict.fromkeys((*_SMALL_NUMBERS, *filter(None, digits))))


def compose(question: str, choose: Choose, tools: Mapping[str, p.Offered] = _NO_TOOLS) -> tuple[str, p.Plan]:
    """A plan by choices.

    Args:
        question: with at least one word.
        choose: makes the choices.
        tools: name → tool that a step may use.

    Returns:
        (its lines, the plan).
    """
    return _Composer(question, choose, tools).plan()


def read(question: str, text: str, tools: Mapping[str, p.Offered] = _NO_TOOLS) -> p.Plan:
    """The plan that lines spell.

    Raises:
        PlanError: they spell none; the message says where, and what could have followed.
    """
    at = 0

    def choose(options: Sequence[str]) -> str:
        nonlocal at
        for option in options:
            if text.startswith(option, at):
                at += len(option)
                return option
        could = ", ".join(repr(option.strip()) for option in options[:12])
        raise PlanError(f"Not a plan: {text[at : at + 40]!r} at character {at}; there could be {could}.")

    _, plan = compose(question, choose, tools)
    if text[at:].strip():
        raise PlanError(f"Not a plan: {text[at : at + 40]!r} follows the answer.")
    return plan


class _Composer:
    """One plan being composed."""

    def __init__(self, question: str, choose: Choose, tools: Mapping[str, p.Offered]) -> None:
        self.tools = tools
        self.question = question
        self.choose = choose
        self.written: list[str] = []
        self.steps: list[dict[str, Any]] = []
        self.kinds: list[p.Kind] = []
        words = words_of(question)
        spans = (" ".join(words[k : k + n]) for n in range(1, _LONGEST_PHRASE + 1) for k in range(len(words) - n + 1))
        self.phrases = list(dict.fromkeys(span for span in spans if len(span) <= 200))
        self.numbers = numbers_of(question)
        if not self.phrases:
            raise PlanError("There is no word in the question to make a plan of.")

    def plan(self) -> tuple[str, p.Plan]:
        while not self.kinds or self.kinds[-1] != "answer":
            op = self.one_of(self.possible())
            step, gives = getattr(self, f"_{op}")()
            self.steps.append({"op": op, "id": f"s{len(self.steps) + 1}", **step})
            self.kinds.append(gives)
        return "".join(self.written), p.Plan.parse({"question": self.question, "steps": self.steps})

    def possible(self) -> list[str]:
        """The ops that may come next, so that in the end there is an answer."""
        left = MOST_STEPS - len(self.steps)
        values = self.refs(*p.VALUES)
        if self.usable():
            return [*self._possible(left, values), "tool"] if left > 1 else ["answer"]
        return self._possible(left, values)

    def _possible(self, left: int, values: list[str]) -> list[str]:
        if left == 1:
            return ["answer"]
        regions, numbers, truths = self.refs("regions"), self.refs("number"), self.refs("bool")
        giving = ["read", "describe"]
        if regions:
            giving += ["count", "kinds", "exists", "share", "which_kind", "colors", "same_color", "measure"]
            giving += ["place", "name", "inspect", "locate", "segment", "point", "corners"]
        if numbers:
            giving += ["arithmetic", "compare", "which"]
        if truths:
            giving += ["logic", "either"]
        if self.refs("text"):
            giving += ["says"]
        if left == 2 and not values:
            return giving
        choosing = ["keep", "are", "except", "side", "select", "exactly"] if regions else []
        return ["find", *choosing, *giving, *(["answer"] if values else [])]

    def usable(self) -> dict[str, list[list[str]]]:
        """Tool → what may stand for each of its arguments, for those that can be called now."""
        must_give = MOST_STEPS - len(self.steps) == 2 and not self.refs(*p.VALUES)
        pieces = {name: self._pieces(tool) for name, tool in self.tools.items()}
        return {
            name: of
            for name, of in pieces.items()
            if all(of) and not (must_give and self.tools[name].gives == "regions")
        }

    def _pieces(self, tool: p.Offered) -> list[list[str]]:
        wanted = tool.required or tool.places[:1]
        return [self._piece(tool, name) for name in wanted]

    def _piece(self, tool: p.Offered, name: str) -> list[str]:
        """What may stand for an argument; nothing where it takes what a line cannot say."""
        schema = tool.arguments[name]
        kinds = [schema.get("type"), *(one.get("type") for one in schema.get("anyOf", ()))]
        if name in tool.places:
            return [*([] if name in tool.required else ["picture"]), *self.refs("regions")]
        if "enum" in schema:
            return [json.dumps(one, ensure_ascii=False) for one in schema["enum"] if one is not None]
        if "string" in kinds:
            return self.quoted()
        if "boolean" in kinds:
            return ["false", "true"]
        return self.numbers if {"integer", "number"} & set(map(str, kinds)) else []

    # ---- the pieces of a line; each ends in a blank, or the line with it ----

    def one_of(self, options: Sequence[str], last: Sequence[str] = ()) -> str:
        """One of the options, each followed by more, or of those that end the line."""
        chosen = self.choose([*(f"{option} " for option in options), *(f"{option}\n" for option in last)])
        self.written.append(chosen)
        return chosen[:-1]

    def refs(self, *kinds: str) -> list[str]:
        return [f"s{k}" for k, kind in enumerate(self.kinds, 1) if kind in kinds]

    def several(self, kinds: Sequence[str], least: int = 1) -> list[str]:
        """Steps of these kinds, at least so many; one may stand twice."""
        known = self.refs(*kinds)
        found: list[str] = []
        while not self.ended():
            more = known if len(found) + 1 < _MOST_REFS else []
            found.append(self.one_of(more, known if len(found) + 1 >= least else []))
        return found

    def quoted(self) -> list[str]:
        return [f'"{phrase}"' for phrase in self.phrases]

    def ended(self) -> bool:
        return self.written[-1].endswith("\n")

    # ---- one op each: (its fields, the kind of its result) ----

    def _find(self) -> tuple[dict[str, Any], p.Kind]:
        phrase = self.one_of(self.quoted(), ["everything"])
        if self.ended():
            return {}, "regions"
        return {"phrase": phrase[1:-1], "purpose": self.one_of([], _PURPOSES)}, "regions"

    def _keep(self) -> tuple[dict[str, Any], p.Kind]:
        of = self.one_of(self.refs("regions"))
        relation = self.one_of([*_RELATIONS, "between", *(f"not_{one}" for one in (*_RELATIONS, "between"))])
        fields = {"of": of, "relation": relation.removeprefix("not_"), "negated": relation.startswith("not_")}
        if fields["relation"] == "between":
            fields["and_to"] = self.one_of(self.refs("regions"))
        elif (to := self.one_of(["each"], self.refs("regions"))) != "each":
            return {**fields, "to": to}, "regions"
        else:
            fields["each"] = True
        return {**fields, "to": self.one_of([], self.refs("regions"))}, "regions"

    def _are(self) -> tuple[dict[str, Any], p.Kind]:
        of, negated = self.one_of(self.refs("regions")), self.one_of(["is", "is_not"]) == "is_not"
        words: list[str] = []
        while not self.ended():
            words.append(self.one_of(self.quoted() if len(words) + 1 < _MOST_REFS else [], self.quoted())[1:-1])
        return {"of": of, "negated": negated, "words": words}, "regions"

    def _except(self) -> tuple[dict[str, Any], p.Kind]:
        of, regions = self.one_of(self.refs("regions")), self.refs("regions")
        without = self.one_of(["only"], regions)
        if self.ended():
            return {"of": of, "without": without}, "regions"
        return {"of": of, "without": self.one_of([], regions), "only": True}, "regions"

    def _side(self) -> tuple[dict[str, Any], p.Kind]:
        of = self.one_of(self.refs("regions"))
        outer = [f"far_{one}" for one in _SIDES if one != "middle"]
        chosen = self.one_of([], [*_SIDES, *outer, *(f"not_{one}" for one in (*_SIDES, *outer))])
        side = chosen.removeprefix("not_")
        third = side.startswith("far_")
        return {"of": of, "side": side.removeprefix("far_"), "third": third, "negated": side != chosen}, "regions"

    def _select(self) -> tuple[dict[str, Any], p.Kind]:
        fields: dict[str, Any] = {"of": self.one_of(self.refs("regions")), "by": self.one_of(_ORDERS)}
        if fields["by"] in ("nearest", "farthest"):
            fields["to"] = self.one_of(self.refs("regions"))
        fields["rank"] = int(self.one_of(_SMALL_NUMBERS[1:10], _SMALL_NUMBERS[1:10]))
        if not self.ended():
            fields["number"] = int(self.one_of([], _SMALL_NUMBERS[2:10]))
        return fields, "regions"

    def _exactly(self) -> tuple[dict[str, Any], p.Kind]:
        of = self.one_of(self.refs("regions"))
        return {"of": of, "number": int(self.one_of([], _SMALL_NUMBERS[1:]))}, "regions"

    def _count(self) -> tuple[dict[str, Any], p.Kind]:
        return {"of": self.one_of([], self.refs("regions"))}, "number"

    def _kinds(self) -> tuple[dict[str, Any], p.Kind]:
        return {"of": self.one_of([], self.refs("regions"))}, "number"

    def _which_kind(self) -> tuple[dict[str, Any], p.Kind]:
        of = self.one_of(self.refs("regions"))
        numbers = [number for number in self.numbers if 1 <= int(number) <= 1000]
        chosen = self.one_of([], ["most", "fewest", *numbers])
        return {"of": of, **({"number": int(chosen)} if chosen.isdigit() else {"direction": chosen})}, "text"

    def _exists(self) -> tuple[dict[str, Any], p.Kind]:
        return {"of": self.one_of([], self.refs("regions"))}, "bool"

    def _share(self) -> tuple[dict[str, Any], p.Kind]:
        of, among = self.one_of(self.refs("regions")), self.one_of(self.refs("regions"))
        return {"of": of, "among": among, "quantity": self.one_of([], _QUANTITIES)}, "bool"

    def _measure(self) -> tuple[dict[str, Any], p.Kind]:
        of = self.one_of(self.refs("regions"))
        quantity = self.one_of(["distance"], ["area", "height", "width", "x", "y", "share"])
        if self.ended():
            return {"of": of, "quantity": quantity}, "number"
        return {"of": of, "quantity": quantity, "to": self.one_of([], self.refs("regions"))}, "number"

    def _arithmetic(self) -> tuple[dict[str, Any], p.Kind]:
        operation = self.one_of(["sum", "difference", "absolute_difference", "product", "percentage"])
        known, of = self.refs("number"), list[str | int]()
        if operation == "percentage":
            return {"operation": operation, "of": [self.one_of(known), self.one_of([], known)]}, "number"
        while not self.ended():
            counted = any(isinstance(one, str) for one in of)
            more = [*known, *self.numbers] if len(of) + 1 < _MOST_REFS else []
            one = self.one_of(more, [*known, *self.numbers] if counted else known)
            of.append(int(one) if one.isdigit() else one)
        return {"operation": operation, "of": of}, "number"

    def _compare(self) -> tuple[dict[str, Any], p.Kind]:
        numbers = self.refs("number")
        left, comparison = self.one_of(numbers), self.one_of(_COMPARISONS)
        right = self.one_of([], [*numbers, *self.numbers])
        return {"left": left, "comparison": comparison, "right": int(right) if right.isdigit() else right}, "bool"

    def _which(self) -> tuple[dict[str, Any], p.Kind]:
        direction = self.one_of(["most", "fewest"])
        return {"direction": direction, "of": self.several(["number"], least=2)}, "text"

    def _colors(self) -> tuple[dict[str, Any], p.Kind]:
        return {"of": self.one_of([], self.refs("regions"))}, "text"

    def _says(self) -> tuple[dict[str, Any], p.Kind]:
        of, words = self.one_of(self.refs("text")), self.one_of([], ["anything", *self.quoted()])
        return {"of": of, **({} if words == "anything" else {"words": words[1:-1]})}, "bool"

    def _same_color(self) -> tuple[dict[str, Any], p.Kind]:
        return {"of": self.several(["regions"])}, "bool"

    def _either(self) -> tuple[dict[str, Any], p.Kind]:
        names, of, truths = list[str](), list[str](), self.refs("bool")
        while not self.ended():
            names.append(self.one_of(self.quoted())[1:-1])
            of.append(self.one_of(truths if len(of) + 1 < _MOST_REFS else [], truths if of else []))
        return {"names": names, "of": of}, "text"

    def _place(self) -> tuple[dict[str, Any], p.Kind]:
        of, to = self.one_of(self.refs("regions")), self.one_of(["picture", *self.refs("regions")])
        known = _SIDES if to == "picture" else _RELATIONS
        options: list[str] = []
        while not self.ended():
            options.append(self.one_of(known if len(options) + 1 < _MOST_REFS else [], known))
        return {"of": of, "options": options, **({} if to == "picture" else {"to": to})}, "text"

    def _logic(self) -> tuple[dict[str, Any], p.Kind]:
        operation = self.one_of(["all", "any", "not"])
        if operation == "not":
            return {"operation": operation, "of": [self.one_of([], self.refs("bool"))]}, "bool"
        return {"operation": operation, "of": self.several(["bool"])}, "bool"

    def _read(self) -> tuple[dict[str, Any], p.Kind]:
        return self._of_or_picture()

    def _describe(self) -> tuple[dict[str, Any], p.Kind]:
        return self._of_or_picture()

    def _of_or_picture(self) -> tuple[dict[str, Any], p.Kind]:
        of = self.one_of([], ["picture", *self.refs("regions")])
        return {} if of == "picture" else {"of": of}, "text"

    def _name(self) -> tuple[dict[str, Any], p.Kind]:
        return {"of": self.one_of([], self.refs("regions"))}, "text"

    def _inspect(self) -> tuple[dict[str, Any], p.Kind]:
        return {"of": self.one_of([], self.refs("regions")), "question": self.question[:500]}, "text"

    def _locate(self) -> tuple[dict[str, Any], p.Kind]:
        return {"of": self.one_of([], self.refs("regions"))}, "text"

    _segment = _point = _corners = _locate

    def _tool(self) -> tuple[dict[str, Any], p.Kind]:
        usable = self.usable()
        name = self.one_of([name for name, of in usable.items() if of], [name for name, of in usable.items() if not of])
        tool, pieces = self.tools[name], usable[name]
        args: dict[str, Any] = {}
        of: dict[str, str] = {}
        for k, (argument, options) in enumerate(zip(tool.required or tool.places[:1], pieces, strict=True), 1):
            chosen = self.one_of(options) if k < len(pieces) else self.one_of([], options)
            if argument in tool.places:
                of |= {} if chosen == "picture" else {argument: chosen}
            else:
                args[argument] = json.loads(chosen)
        return {"name": name, "args": args, "of": of, "gives": tool.gives}, tool.gives

    def _answer(self) -> tuple[dict[str, Any], p.Kind]:
        return {"of": self.several(p.VALUES)}, "answer"
