"""A planner without a language model: an English grammar for questions about what is where in a picture.

tokens → clauses (`questions`, on top of `noun_phrases`) → plan (`compile`). What it cannot parse it says, with the
nearest question it could answer (`suggest`). It knows function words and word order; what nouns mean is the lexicon's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fo1agent.planners.base import NotUnderstood
from fo1agent.planners.rules.compile import CannotPlanError, compile_plan
from fo1agent.planners.rules.grammar import parse
from fo1agent.planners.rules.languages import foreign
from fo1agent.planners.rules.suggest import nearest_question
from fo1agent.planners.rules.tokens import tokenize
from fo1agent.plans.language import Plan

# A question longer than this is not one question; the grammar's backtracking stays cheap below it.
MAX_TOKENS = 100
# So many of the latest questions of a talk may be gone back to.
REMEMBERED = 8


# What a picture does not show: what ought to be, and how many are too many.
_BEYOND = re.compile(
    r"\b((?:should|must|ought to) there be|there (?:should|must|ought to) be|"
    r"(?:too|so) (?:many|much|few)|too (?=(?:black|white|red|green|blue|yellow|brown|gr[ae]y|big|large|small|tall)\b)|"
    r"(?:can|could) (?:sit|stand|lie|fit|sleep|ride)|^(?:can|could) (?:\w+ ){1,3}(?:sit|stand|lie|fit|sleep|ride)|"
    r"(?<=what is )(?:missing|absent))\b",
    re.IGNORECASE,
)


class RulePlanner:
    """Plans questions about counts, existence, comparisons, places, text and names, in many wordings."""

    name = "rules"
    remembers = True

    def plan(self, question: str, before: Sequence[str] = ()) -> Plan | NotUnderstood:
        """The plan that answers the question, or why there is none. Never raises for any text.

        Args:
            question: in English.
            before: earlier questions in the same talk, oldest first; "it", "they", "what about" may go back to them.
        """
        # One sentence in another language is enough: half a question is never answered.
        language = foreign(question) or next(filter(None, map(foreign, re.split(r"[.?!;]", question))), "")
        if language:
            return NotUnderstood(f"I only understand English, and this looks like {language}")
        if beyond := _BEYOND.search(question):
            reason = f"What “{beyond[0].lower().strip()}” means I can't judge, as I only see what is there"
            return NotUnderstood(reason, nearest_question(tokenize(question)))
        tokens = tokenize(question)
        if not any(token[0].isalnum() for token in tokens):
            return NotUnderstood("There is no question", "How many … are there?")
        if len(tokens) > MAX_TOKENS:
            return NotUnderstood("That question is too long for me", nearest_question(tokens[:MAX_TOKENS]))
        earlier = [known for one in before[-REMEMBERED:] if len(known := tokenize(one)) <= MAX_TOKENS]
        clauses = parse(tokens, earlier)
        if clauses is None:
            return NotUnderstood("I can't parse that question", nearest_question(tokens, *reversed(earlier)))
        try:
            return compile_plan(question, clauses)
        except CannotPlanError as exc:
            return NotUnderstood(str(exc), nearest_question(tokens, *reversed(earlier)))
