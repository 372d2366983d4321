"""Reads what stands before and after a question: "Hi, could you please tell me if …", "…, right?"."""

from __future__ import annotations

from collections.abc import Iterator

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser

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


def prelude(p: Parser) -> None:
    """Pass over "Hi, could you please tell me if", "In this picture,", "I would like to know"."""
    while True:
        start = p.i
        p.take_any(w.FILLER | {",", ":", "and", "question", "but", "great", "sorry", "dear", "quick", "oh", "only"})
        if p.attempt(lambda: _picture_opening(p)):
            continue
        if p.take(*_INSTRUCTIONS):
            continue
        if p.take(*_ORDERS) and p.now not in ("more", "fewer", "less", "as"):
            p.i = p.i - (3 if p.tokens[p.i - 1] == "about" else 1)
            return
        if p.attempt(lambda: _request(p)):
            continue
        if p.i == start:
            return


def _picture_opening(p: Parser) -> bool | None:
    """ "In this picture,", "Looking at the photo", "Given the image,"."""
    p.take("when", "by", "after")
    if p.take_any(("looking", "look", "based", "given", "considering", "judging", "according", "examining", "for")):
        p.take_any(("at", "on", "by", "from", "to", "in", "closely"))
        p.take_any(("at",))
        p.take_any(w.DETERMINERS)
        while p.take_any(("given", "above", "entire", "whole", "attached", "following")):
            pass
        if not p.take_any(w.PICTURE):
            return None
    elif p.take(*_FROM_THE_CAMERA):
        pass
    elif p.now not in w.PREPOSITIONS | {"here"} or not p.scope():
        return None
    p.take("carefully", "closely", "shown", "given", "above", "provided", "below")
    p.take(",", "and", ":")
    return True


def _request(p: Parser) -> bool | None:
    """ "Could you tell me (if)", "I want to know", "Do you know"."""
    start = p.i
    if p.take_any(w.MODAL | {"do"}) and p.take("you", "i", "we"):
        p.take("please", "kindly", "also", "perhaps", "maybe")
        if p.take(*_TELL_ME_AFTER_CAN_YOU):
            if p.tokens[p.i - 2 : p.i] in (["give", "me"], ["show", "me"]):
                p.i -= 2
                return p.i > start
            _embedding(p)
            return True
        # "Can you count …", "could you describe …": an order as it stands.
        if p.now in _VERBS and p.peek(1) not in ("more", "fewer", "less", "as"):
            return True
    p.i = start
    if p.take(*_TELL_ME):
        _embedding(p)
        return True
    if p.take(*_I_WANT_TO):
        if p.take(*_KNOW):
            _embedding(p)
        return True
    if p.take("i wonder", "i am wondering", "i was wondering", "i am curious", "just wondering", "wondering"):
        _embedding(p)
        return True
    if p.take(*_IS_IT_TRUE):
        p.take("to say", "to claim", "to state")
        p.take("that")
        return True
    return None


def _embedding(p: Parser) -> None:
    p.take("me", "us", "out")
    p.take(*_THAT)
    p.take("or not")


def starts(p: Parser) -> Iterator[int]:
    """Where the question itself may begin: after what is known to come before one, or after words that only wrap it."""
    if p.now in w.VOCATIVES and p.peek(1) == ",":
        p.i += 2
    begin = p.i
    prelude(p)
    first = p.i
    yield first
    for at in range(len(p.tokens) - 2, begin, -1):
        wrapped = all(token in w.FRAME | {",", ":"} for token in p.tokens[begin:at])
        if (
            at != first
            and wrapped
            and (p.tokens[at] in w.QUESTION_START | w.PEOPLE_PRONOUNS or p.tokens[at - 1] in (",", ":"))
        ):
            yield at


def drop_tag(p: Parser) -> None:
    """Forget ", right?", ", isn't it?", "or not" at the end."""
    for tag in (["or", "not"], ["true", "or", "false"], ["yes", "or", "no"], ["is", "what"]):
        cut = len(p.tokens) - len(tag)
        if cut > p.i + 1 and p.tokens[cut:] == tag:
            p.tokens = p.tokens[: cut - 1] if p.tokens[cut - 1] == "," else p.tokens[:cut]
    if p.tokens[-2:] == [",", "please"]:
        p.tokens = p.tokens[:-2]
    commas = [k for k, token in enumerate(p.tokens) if token == "," and k > p.i + 1]
    if (
        commas
        and 0 < len(p.tokens) - commas[-1] - 1 <= 6
        and all(token in w.TAG for token in p.tokens[commas[-1] + 1 :])
    ):
        tail = p.tokens[commas[-1] + 1 :]
        # "There is no cat, is there?": the tag asks for the contrary of what is supposed.
        p.contrary = tail[0] in w.BE | w.DO and tail[-1] in ("there", "it", "they", "any", "one") and "not" not in tail
        p.tokens = p.tokens[: commas[-1]]
    if p.tokens[-1:] == ["please"] and len(p.tokens) > p.i + 1:
        p.tokens = p.tokens[:-1]


def greetings_only(p: Parser) -> list[s.Clause] | None:
    """ "Hello!", "Thanks.": nothing is asked."""
    return [] if p.at_end() else None
