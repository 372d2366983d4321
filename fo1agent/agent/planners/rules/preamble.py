"""Reads what stands before and after a question: "Hi, could you please tell me if …", "…, right?"."""

from __future__ import annotations

from fo1agent.agent.planners.rules import syntax as s
from fo1agent.agent.planners.rules import words as w
from fo1agent.agent.planners.rules.clauses import ClausePhrases

_IS_IT_TRUE = w.phrases(
    "is it true | is it correct | is it the case | is it right | would you say | is it so | is it accurate | "
    "do you agree | do you believe | do you think | does it look like | does it seem like | does it seem | "
    "would it be right | would it be correct"
)
_VERBS = w.words("count describe read locate point list name identify transcribe give highlight calculate add")
_INSTRUCTIONS = w.phrases(
    "answer yes or no | answer with yes or no | answer by yes or no | reply yes or no | reply with yes or no | "
    "yes or no | answer with a single number | answer with one number | answer with a number | answer as a number | "
    "reply with a number | give a number | give only the number | only the number | just the number | "
    "answer in one word | answer with one word | answer briefly | be brief | answer | q | as seen"
)
_ORDERS = w.phrases(
    "tell me about | could you count | can you count | can you describe | could you describe | can you read | "
    "could you read"
)
_FROM_THE_CAMERA = w.phrases(
    "from the viewer 's perspective | from the viewer 's point of view | from our perspective | from the camera "
    "'s perspective | from where you are | as seen from the camera | from this perspective | from your "
    "perspective | taken together | as seen from the viewer | viewed from the camera | seen from the camera"
)
_TELL_ME_AFTER_CAN_YOU = w.phrases(
    "tell me | say | tell | let me know | check | confirm | determine | work out | know | help me | inform me | "
    "verify | please tell me | ask | ask you | think | find out | state | figure out | show me | give me | tell "
    "us"
)
_TELL_ME = w.phrases(
    "tell me | tell us | report | let me know | say | please tell me | let us know | answer | check | confirm | "
    "determine | verify | decide | state | any idea | help me | inform me | see | judge | find out | work out | "
    "figure out | answer me | true or false"
)
_I_WANT_TO = w.phrases(
    "i would like to | i would love to | i want to | i need to | i wish to | i am trying to | i would like you to "
    "| i want you to | we want to | we need to | i have to"
)
_KNOW = w.phrases("know | find out | learn | ask | understand | see | check | tell me | figure out")
_THAT = w.phrases("if | whether | that | about whether | as to whether | about | : | ,")


class Preamble(ClausePhrases):
    """Politeness, openings and tags."""

    def _prelude(self) -> None:
        """Pass over "Hi, could you please tell me if", "In this picture,", "I would like to know"."""
        while True:
            start = self.i
            self.take_any(w.FILLER | {",", ":", "and", "question", "but", "great", "sorry", "dear", "quick"})
            if self.attempt(self._picture_opening):
                continue
            if self.take(*_INSTRUCTIONS):
                continue
            if self.take(*_ORDERS) and self.now not in ("more", "fewer", "less", "as"):
                self.i = self.i - (3 if self.tokens[self.i - 1] == "about" else 1)
                return
            if self.attempt(self._request):
                continue
            if self.i == start:
                return

    def _picture_opening(self) -> bool | None:
        """ "In this picture,", "Looking at the photo", "Given the image,"."""
        self.take("when", "by", "after")
        if self.take_any(
            ("looking", "look", "based", "given", "considering", "judging", "according", "examining", "for")
        ):
            self.take_any(("at", "on", "by", "from", "to", "in", "closely"))
            self.take_any(("at",))
            self.take_any(w.DETERMINERS)
            while self.take_any(("given", "above", "entire", "whole", "attached", "following")):
                pass
            if not self.take_any(w.PICTURE):
                return None
        elif self.take(*_FROM_THE_CAMERA):
            pass
        elif self.now not in w.PREPOSITIONS | {"here"} or not self.scope():
            return None
        self.take("carefully", "closely", "shown", "given", "above", "provided", "below")
        self.take(",", "and", ":")
        return True

    def _request(self) -> bool | None:
        """ "Could you tell me (if)", "I want to know", "Do you know"."""
        start = self.i
        if self.take_any(w.MODAL | {"do"}) and self.take("you", "i", "we"):
            self.take("please", "kindly", "also", "perhaps", "maybe")
            if self.take(*_TELL_ME_AFTER_CAN_YOU):
                if self.tokens[self.i - 2 : self.i] in (["give", "me"], ["show", "me"]):
                    self.i -= 2
                    return self.i > start
                self._embedding()
                return True
            # "Can you count …", "could you describe …": an order as it stands.
            if self.now in _VERBS and self.peek(1) not in ("more", "fewer", "less", "as"):
                return True
        self.i = start
        if self.take(*_TELL_ME):
            self._embedding()
            return True
        if self.take(*_I_WANT_TO):
            if self.take(*_KNOW):
                self._embedding()
            return True
        if self.take("i wonder", "i am wondering", "i was wondering", "i am curious", "just wondering", "wondering"):
            self._embedding()
            return True
        if self.take(*_IS_IT_TRUE):
            self.take("to say", "to claim", "to state")
            self.take("that")
            return True
        return None

    def _embedding(self) -> None:
        self.take("me", "us", "out")
        self.take(*_THAT)
        self.take("or not")

    def _drop_tag(self) -> None:
        """Forget ", right?", ", isn't it?", "or not" at the end."""
        tags = (["right"], ["correct"], ["yes"], ["or", "not"], ["true", "or", "false"], ["yes", "or", "no"],
                ["is", "not", "it"], ["are", "not", "there"], ["is", "not", "there"], ["are", "not", "they"],
                ["thanks"], ["thank", "you"], ["please"], ["is", "there"], ["are", "there"],
                ["is", "there", "one"], ["are", "there", "any"], ["is", "what"])  # fmt: skip
        for tag in tags:
            cut = len(self.tokens) - len(tag)
            if (
                cut > self.i + 1
                and self.tokens[cut:] == tag
                and (self.tokens[cut - 1] == "," or tag[0] in ("or", "true") or tag == ["is", "what"])
            ):
                self.tokens = self.tokens[: cut - 1] if self.tokens[cut - 1] == "," else self.tokens[:cut]

    def _greetings_only(self) -> list[s.Clause] | None:
        return [] if self.at_end() else None
