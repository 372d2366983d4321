"""Plans by FO1's own language model, which may write nothing but plans: its decoding is held to their grammar.

Whatever the weights, what comes out is a plan that runs. Whether it is a plan for the question is the model's matter:
one as small as fo1-nano's follows the grammar and little else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fo1agent import prompts
from fo1agent.errors import InputError
from fo1agent.planners.base import NotUnderstood
from fo1agent.plans.language import Offered, Plan
from fo1agent.plans.lines import compose, words_of
from fo1agent.runs.llm_calls import llm_call

LONGEST_QUESTION = 500
"""Characters; what is longer is not one question."""

Turn = Callable[[Callable[[], int]], int]
"""Makes a choice when it is its turn, and gives it."""


class OwnPlanner:
    """Lets the model that looks at pictures plan as well, on the question's words alone.

    Args:
        predictor: a `fo1agent.model.predictor.Predictor`.
        turn: makes each of its choices, between which others may use the model.
        tools: name → tool that a plan may use beside the operations of plans.
    """

    name = "fo1"

    def __init__(
        self, predictor: Any, turn: Turn = lambda choice: choice(), tools: Mapping[str, Offered] | None = None
    ) -> None:
        self.tools = tools or {}
        self._predictor = predictor
        self._turn = turn

    @classmethod
    def of(
        cls, model: Any, turn: Turn = lambda choice: choice(), tools: Mapping[str, Offered] | None = None
    ) -> OwnPlanner:
        """The planner of a loaded model; `turn` and `tools` as for the planner itself.

        Raises:
            InputError: there is no model, or one of another kind.
        """
        predictor = getattr(model, "predictor", None)
        if not hasattr(predictor, "processor"):
            raise InputError('The planner "fo1" is a model of ours: Agent(fo1agent.load(), planner="fo1").')
        return cls(predictor, turn, tools)

    def plan(self, question: str) -> Plan | NotUnderstood:
        """A plan that runs, for any question with a word in it."""
        if not words_of(question):
            return NotUnderstood("There is no question")
        if len(question) > LONGEST_QUESTION:
            return NotUnderstood("That question is too long for me")
        from fo1agent.model.choosing import Writer

        processor = self._predictor.processor
        asked = processor.question_ids([], prompts.render("agent_own_plan", question))
        writer = Writer(self._predictor.reader(), asked.tolist())

        def choose(options: Sequence[str]) -> str:
            ids = [processor.text_ids(option).tolist() for option in options]
            return options[self._turn(lambda: writer.choose(ids))]

        with llm_call(self._predictor.name, "fo1agent"):
            return compose(question, choose, self.tools)[1]
