"""The grammar of questions: from tokens to clauses, one per thing that is asked.

A clause counts as parsed only when every word of it was understood; half-understood questions are left to the caller,
who says so. The order of the productions matters where one question form is the beginning of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass, replace

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.asking import aspect, describe, what
from fo1agent.planners.rules.attributes import (
    all_said,
    color_of,
    does_have,
    is_one_of_two,
    is_said,
    is_so,
    is_which,
    name_one,
    same_color,
    what_under,
    which_is,
    which_of,
)
from fo1agent.planners.rules.comparing import are_more, is_larger, more_of, numbers_compared, which_larger, which_more
from fo1agent.planners.rules.counting import added_up, how_many, how_many_more, number_of
from fo1agent.planners.rules.following import follow_up, is_named
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.placing import (
    has_beside,
    is_at,
    is_there,
    is_without,
    mutual,
    quantity,
    see_or_show,
    statement,
    where,
    which_side,
)
from fo1agent.planners.rules.pointing import area, corners, point, segment
from fo1agent.planners.rules.portions import fills_so_much, measured, portion
from fo1agent.planners.rules.preamble import drop_tag, greetings_only, prelude, starts
from fo1agent.planners.rules.reading import does_say, is_text, read
from fo1agent.planners.rules.reckoning import (
    are_kinds,
    guests,
    how_many_kinds,
    how_many_missing,
    how_many_with_more,
    is_enough,
    makes,
    outnumber_by,
    reckoned,
    times_as_many,
    which_kind,
    would_fit,
)
from fo1agent.planners.rules.syntax import Condition, NounPhrase
from fo1agent.words import lexicon

_ENDS = ("?", ".", "!", ";")
_CONNECTORS = (",", "and", "then", ":", "but", "also", "plus")

_SEEN_FROM = w.phrases(
    "relative to | with respect to | in relation to | with regard to | starting from | starting at | with | from | "
    "looking at | look at | if you look at | when you look at | consider | take"
)
_EQUALS = w.phrases("equals | equal | is | are | make | makes | gives")


# Second halves of a question that add nothing to its first.
_SAME_AGAIN = (
    "what do you get", "what is the total", "what is the sum", "what is the result", "what is the answer",
    "how many is that", "how many are there in total", "how many in total", "what is the total number",
)  # fmt: skip


def parse(tokens: list[str], before: Sequence[list[str]] = ()) -> list[s.Clause] | None:
    """All clauses of a question in their order; None when any part of it is not understood.

    Args:
        tokens: of the question, which may have several sentences.
        before: tokens of earlier questions in the same talk, which "it", "they" and "what about" may go back to.
    """
    spoken: list[s.Clause] = []
    for earlier in before:
        spoken += [one.clause if isinstance(one, s.Spoken) else one for one in _parse(earlier, spoken) or []]
    found = _parse(tokens, spoken)
    return None if found is None else [*(s.Spoken(one) for one in spoken), *found]


def _parse(tokens: list[str], before: list[s.Clause]) -> list[s.Clause] | None:
    """The clauses of one question, after those that were asked before it."""
    spoken, clauses = list(before), list[s.Clause]()
    sentences = joined_sentences(tokens)
    any_asks = any(_asks(*one) for one in sentences)
    asked = 0
    for words, end in sentences:
        told = any_asks and not _asks(words, end)
        found = _parse_sentence(words, spoken, told)
        if found is None and told and _is_chatter(words, sentences):
            clauses.append(s.Unused(" ".join(words)))
            named = [s.WhatIs(thing) for thing in _named_in(words)]
            spoken += named
            clauses += [s.Spoken(one) for one in named]
            continue
        if found is None:
            return None
        if told and any(map(_claims, found)):  # "There are no cows. What color are the cows?"
            clauses.append(s.Unused(" ".join(words)))
        spoken += found
        asked += 0 if told else len(found)
        clauses += [s.Spoken(one) for one in found] if told else found
    return clauses if asked else None


def _claims(found: s.Clause) -> bool:
    """Whether what is told by the way may be wrong: a number, that there is none, how a thing is."""
    if isinstance(found, s.IsThere):
        return bool(found.comparison) or any(thing.negative or thing.quantity for thing in found.things)
    return isinstance(found, s.IsAt)


def joined_sentences(tokens: list[str]) -> list[tuple[list[str], str]]:
    """(words, what they end with) of each sentence, those together that only make sense so."""
    sentences = _sentences(tokens)
    return _joined([one for one in sentences if not _is_tag(one[0])] or sentences)


def _sentences(tokens: list[str]) -> list[tuple[list[str], str]]:
    """(words, what they end with) of each sentence."""
    sentences: list[tuple[list[str], str]] = []
    words: list[str] = []
    for token in [*tokens, "."]:
        if token not in _ENDS:
            words.append(token)
            continue
        if any(word[0].isalnum() for word in words):
            sentences.append((words, token))
        words = []
    return sentences


def _joined(sentences: list[tuple[list[str], str]]) -> list[tuple[list[str], str]]:
    """Sentences that only make sense together as one: "How many screens? I mean laptops and tvs."; "Suppose I buy two
    more. How many is that?"."""
    joined: list[tuple[list[str], str]] = []
    for words, end in sentences:
        if joined and words[:2] == ["i", "mean"]:
            joined[-1] = ([*joined[-1][0], ",", *words], joined[-1][1])
        elif joined and not _asks(*joined[-1]) and _reckons(together := [*joined[-1][0], ",", *words]):
            joined[-1] = (together, end)
        else:
            joined.append((words, end))
    return joined


def _reckons(tokens: list[str]) -> bool:
    return reckoned(Parser(tokens)) is not None or guests(Parser(tokens)) is not None


def _asks(words: list[str], end: str) -> bool:
    """Whether a sentence asks or orders something, rather than telling it."""
    opening = Parser(words)
    prelude(opening)
    return (
        end == "?" or words[0] == "and" or opening.i > 2 or opening.now in w.QUESTION_START - {"there", "any"} | {"how"}
    )


def _is_tag(words: list[str]) -> bool:
    """ "Are they?", "Right?": a sentence that only asks whether the one before is so."""
    return all(word in w.TAG for word in words)


def _is_chatter(words: list[str], sentences: list[tuple[list[str], str]]) -> bool:
    """Whether a sentence that was not understood has nothing to do with what the others ask: it says no number, leaves
    nothing out and names nothing that they name."""
    others = {lexicon.singular(word) for other, _ in sentences if other is not words for word in other}
    shared = {lexicon.singular(word) for word in words if lexicon.is_thing(word)} & others
    excludes = {
        "not",
        "no",
        "without",
        "except",
        "only",
        "ignore",
        "but",
        "each",
        "every",
        "all",
        "more",
        "them",
        "half",
    }
    counts = any(word in w.NUMBERS or word.isdigit() or word in w.MULTIPLES for word in words if word != "one")
    return not shared and not counts and not excludes & (set(words) - {"not"} if "i" in words else set(words))


def _named_in(words: list[str]) -> list[NounPhrase]:
    """The things that a sentence names with an article, though it was not understood: "I can't find the remote"."""
    found = []
    for at, word in enumerate(words):
        thing = Parser(words[at:]).noun_phrase(conditions=False) if word in ("the", "a", "an", "my") else None
        if thing is not None and lexicon.is_thing(thing.noun.split(" ")[-1]):
            found.append(replace(thing, definite=True))
    return found


def _parse_sentence(tokens: list[str], before: list[s.Clause], told: bool = False) -> list[s.Clause] | None:
    """The clauses of a sentence. What is only told by the way must be understood whole."""
    if before and " ".join(tokens) in _SAME_AGAIN:
        return []
    if counted := _if_so(tokens):
        return counted
    whole = follow_up(tokens, before) or clause(Parser(tokens))
    if whole is not None:
        return whole
    strict = _about_a_topic(tokens) or _parse_parts(tokens, before)
    if strict is not None or told:
        return strict
    return (
        _about_a_topic(tokens, lenient=True)
        or clause(Parser(tokens, lenient=True))
        or _parse_parts(tokens, before, lenient=True)
    )


def _about_a_topic(tokens: list[str], lenient: bool = False) -> list[s.Clause] | None:
    """ "The thing in the top left corner, is it a kite?": what is asked of a thing that was named before."""
    if "," not in tokens:
        return None
    at = tokens.index(",")
    topic = Parser(tokens[:at])
    prelude(topic)
    thing = topic.noun_phrase()
    if thing is None or not topic.at_end() or thing.pronoun:
        return None
    rest = [word for word in tokens[at + 1 :] if word != "one" or "that" not in tokens[at:]]
    if not any(word in w.PRONOUNS | {"one"} for word in rest):
        return None
    if rest in (["is", "there", "one"], ["are", "there", "any"]):
        return [s.IsThere((thing,))]
    asked = clause(Parser(rest, lenient))
    if asked is None:
        return None
    return [s.Spoken(s.WhatIs(replace(thing, definite=True))), *asked]


def _parse_parts(tokens: list[str], before: list[s.Clause], lenient: bool = False) -> list[s.Clause] | None:
    """A sentence that asks several things, or the same of something else."""
    for at, token in enumerate(tokens):
        if token not in _CONNECTORS or at == 0:
            continue
        rest = tokens[at + 1 :]
        while rest and rest[0] in (*_CONNECTORS, *w.FILLER):
            rest = rest[1:]
        if not rest:
            continue
        if lenient and not _asks(tokens[:at], ""):
            continue
        left = clause(Parser(tokens[:at], lenient))
        if left is None:
            continue
        right = _parse_sentence(rest, before + left, told=not lenient) if rest[0] in w.QUESTION_START else None
        right = right or _follow_ups(rest, before + left)
        if right is not None:
            return left + right
    return follow_up(tokens, before)


def _follow_ups(tokens: list[str], before: list[s.Clause]) -> list[s.Clause] | None:
    """ "(Where is the cat,) the remotes and the couch?": the same of one thing after the other."""
    if (found := follow_up(tokens, before)) is not None:
        return found
    for at, token in enumerate(tokens):
        first = follow_up(tokens[:at], before) if token in _CONNECTORS and at else None
        rest = first and _follow_ups(tokens[at + 1 :], before + first)
        if first and rest:
            return first + rest
    return None


def _if_so(tokens: list[str]) -> list[s.Clause] | None:
    """ "Are there any dogs, and if so, how many?": the number says both; "… and if so, where?" asks both."""
    asked = [token for token in tokens if token not in (",", "and")]
    if asked[-4:] != ["if", "so", "how", "many"] and asked[-3:] != ["if", "so", "where"]:
        return None
    found = clause(Parser(tokens[: len(tokens) - 1 - tokens[::-1].index("if")]))
    if found is None or len(found) != 1 or not isinstance(found[0], s.IsThere) or found[0].comparison:
        return None
    if asked[-1] == "where":
        return [*found, *map(s.WhereIs, found[0].things)]
    return [s.HowMany(found[0].things)]


def _numbers_said(tokens: Sequence[str]) -> set[int]:
    """The numbers above one that a question says."""
    parser, said = Parser(list(tokens)), set[int]()
    while parser.now:
        if parser.take("of the two", "the two of them", "of these two", "of those two"):  # says how many are named
            continue
        if parser.take("plus", "minus") and parser.number() == 1:
            said.add(-1)  # no clause adds one to a count within a comparison
        ordinal = parser.now in w.ORDINALS
        number = None if ordinal else parser.number()
        if number is None:
            parser.i += 1
        elif number > 1:
            said.add(number)
    return said


def _numbers_kept(found: object) -> tuple[set[int], str]:
    """The numbers and the words that a clause is made of."""
    if isinstance(found, bool) or found is None:
        return set(), ""
    if isinstance(found, int):
        return {found}, ""
    if isinstance(found, str):
        return set(), f" {found}"
    parts: Iterable[object] = ()
    if isinstance(found, (tuple, list)):
        parts = found
    elif is_dataclass(found):
        parts = [getattr(found, one.name) for one in fields(found)]
    numbers, text = set[int](), ""
    for part in parts:
        more, words = _numbers_kept(part)
        numbers, text = numbers | more, text + words
    return numbers, text


def _accounts_for_numbers(tokens: Sequence[str], clauses: list[s.Clause]) -> bool:
    """Whether each number that is said has a place in what was read: "the two dogs" are two."""
    said = _numbers_said(tokens)
    if not said:
        return True
    kept, text = _numbers_kept(clauses)
    return all(number in kept or _numbers_said(text.split()) & {number} for number in said)


def clause(p: Parser) -> list[s.Clause] | None:
    """Read the tokens as one clause (rarely, several that share words); None unless all of them fit."""
    tokens = p.tokens
    for start in starts(p):
        p.tokens, p.i = tokens, start
        drop_tag(p)
        for production in PRODUCTIONS:
            p.i = start
            found = production(p)
            if found is not None and p.at_end():
                clauses = found if isinstance(found, list) else [found]
                if production is not is_which and not _accounts_for_numbers(p.tokens[start:], clauses):
                    continue
                return [_supposed(one) for one in clauses] if p.contrary else clauses
    p.tokens, p.i = tokens, 0
    return None


def _supposed(found: s.Clause) -> s.Clause:
    """What "…, is there?" asks after "there is no …": whether there is."""
    if isinstance(found, s.IsAt) and found.conditions[-1].negated:  # "the kite is not red, is it?"
        so = replace(found.conditions[-1], negated=False)
        return replace(found, conditions=(*found.conditions[:-1], so))
    if not isinstance(found, s.IsThere):
        return found
    return replace(found, things=tuple(replace(thing, negative=False) for thing in found.things))


def fragment(p: Parser) -> s.Clause | None:
    """ "Any dogs?", "Dogs left of the bus?": asks whether there are; or "Dogs plus cats =": how many."""
    start = p.i
    p.take("number of", "the number of")
    total = p.attempt(lambda: _expression(p))
    if total is not None:
        return total
    summands = p.things(("plus", "and"))
    if summands and len(summands) > 1 and (p.take(*_EQUALS) or (not p.now and "plus" in p.tokens)):
        p.take("how many", "what", "how much")
        return s.HowMany(tuple(summands)) if p.bag([]) is not None else None
    p.i = start
    like = p.attempt(lambda: _is_like(p))
    if like is not None:
        return like
    comparison, number = quantity(p)
    things = p.things(("and", "or", "plus", "&"))
    if things is not None and comparison and any(thing.quantity or not thing.plural for thing in things[1:]):
        first = replace(things[0], quantity=s.Quantity("", comparison, number))  # "two white cups and a red one"
        things, comparison, number = [first, *things[1:]], "", 0
    things = None if things is None else p.bag(things)
    if things is not None and p._total() and p.at_end() and not comparison:
        return s.HowMany(tuple(things))
    if things is not None and len(things) == 1 and things[0].noun.endswith(" color") and p.at_end():
        return s.AskAbout(
            replace(things[0], noun=things[0].noun.removesuffix(" color"), definite=True), "What color is it?"
        )
    if things is None or not all(is_named(thing) or thing.conditions for thing in things):
        return None
    return s.IsThere(tuple(things), False, comparison, number)


def _is_like(p: Parser) -> s.Clause | None:
    """ "Both chairs blue?": asks whether they are."""
    thing = p.noun_phrase(conditions=False)
    if thing is None or not (thing.definite or thing.quantity) or not thing.noun:
        return None
    said = p.predicate()
    return None if said is None or not said[0].words or not p.at_end() else s.IsAt(thing, said)


def _expression(p: Parser) -> s.Clause | None:
    """ "books plus laptops minus cups =": counts added up and taken off."""
    terms: dict[str, list[NounPhrase]] = {"plus": [], "minus": []}
    sign = "plus"
    while True:
        p.take("the number of", "number of")
        thing = p.noun_phrase(conditions=False)
        if thing is None:
            return None
        terms[sign].append(thing)
        sign = p.take_any(("plus", "minus"))
        if not sign:
            break
        number = p.number()
        if number is not None:  # "the number of kites plus one"
            operation = "sum" if sign == "plus" else "difference"
            done = not terms["minus"] and (p.take(*_EQUALS) or True) and p.at_end()
            return s.Reckon(tuple(terms["plus"]), operation, number) if done else None
    if not terms["minus"]:
        return None
    p.take(*_EQUALS)
    p.take("how many", "what", "how much")
    return s.Total(tuple(terms["plus"]), tuple(terms["minus"])) if p.at_end() else None


def fronted(p: Parser) -> s.Clause | list[s.Clause] | None:
    """ "To the left of the bus, how many people are there?", "Dogs and cats: how many in total?"."""
    if p.take("of", "among", "out of"):
        return _of_a_whole(p)
    if p.take(*_SEEN_FROM):
        return _as_seen_from(p)
    if p.take("than"):  # "compared to the bus", "compared to cars"
        return p.attempt(lambda: _as_seen_from(p)) or _of_the_two(p)
    if p.take("comparing", "between", "considering", "if you compare", "when comparing"):
        return p.attempt(lambda: _compared(p)) or _as_seen_from(p)
    if p.now in ("looking", "if", "when"):
        p.take("if", "when")
        p.take("you", "we", "i", "one")
        if not p.take("looking", "look"):
            return None
    left_out = p.exclusion() or p.attempt(lambda: _set_aside(p))
    if left_out is not None:
        return _without(p, left_out)
    relation = p.relation()
    if relation is not None:
        return _asked_there(p, relation)
    return _of_things(p)


def _of_a_whole(p: Parser) -> s.Clause | list[s.Clause] | None:
    """ "(of) the dogs, how many are brown", "(of) the two giraffes, which is taller"."""
    start = p.i
    whole = p.things(conditions=False)
    p.skip()
    if whole is None or not p.take(","):
        return None
    if p.now in ("which", "what"):
        asked = _of_these(p, whole[0]) if len(whole) == 1 else None
        p.i = start if asked is None else p.i
        return asked or _of_the_two(p)
    if not p.take("how many"):
        return None
    p.take("of them")
    if not whole[0].noun and p.take("are"):  # "of all the things, how many are dogs"
        whole = p.things() or whole
    found = p.bag(whole)
    return s.HowMany(tuple(found)) if found else None


def _compared(p: Parser) -> s.Clause | list[s.Clause] | None:
    p.take("the number of", "the numbers of")
    return _of_the_two(p)


def _without(p: Parser, left_out: Sequence[NounPhrase]) -> s.Clause | None:
    """ "(not counting the dog), how many animals are there"."""
    if not p.take(","):
        return None
    found = _single_clause(p)
    if isinstance(found, (s.HowMany, s.IsThere)):
        things = tuple(replace(thing, without=(*thing.without, *left_out)) for thing in found.things)
        return replace(found, things=things)
    if isinstance(found, (s.HowManyKinds, s.WhichKind, s.WhatIs)):
        return replace(found, thing=replace(found.thing, without=(*found.thing.without, *left_out)))
    return None


def _asked_there(p: Parser, relation: Condition) -> s.Clause | None:
    """ "(to the left of the bus), how many people are there"."""
    if p.take_any(w.BE) and p.now != "how":
        return None
    if not p.take(",", ":") and p.now not in w.QUESTION_START:
        return None
    asked = _single_clause(p)
    if isinstance(asked, (s.HowMany, s.IsThere)):
        return replace(asked, things=tuple(_placed(thing, relation) for thing in asked.things))
    if isinstance(asked, (s.WhatIs, s.WhereIs)):
        return replace(asked, thing=asked.thing.at(relation))
    return None


def _of_things(p: Parser) -> s.Clause | list[s.Clause] | None:
    """ "Dogs and cats: how many in total"."""
    things = p.things()
    if things is None or not p.take(",", ":"):
        return None
    rest = p.tokens[p.i :]
    p.i = len(p.tokens)
    if rest[:2] in (["how", "many"], ["what", "is"]):
        bag = Parser(rest[2:])
        bag.take("the")
        if bag.bag(things) is not None and bag.at_end():
            return s.HowMany(tuple(things))
    if rest and rest[0] in ("which", "what"):
        asked = Parser([*rest, ","])
        order = more_of(asked)
        if order and len(things) > 1:
            return s.WhichMore(tuple(things), order)
    return None


def _placed(thing: NounPhrase, relation: Condition) -> NounPhrase:
    """A thing that is in a relation; that it stands or sits there then says no more."""
    told = tuple(one for one in thing.conditions if not set(one.words) & w.POSTURE.keys())
    return replace(thing, conditions=(*told, relation))


def _set_aside(p: Parser) -> tuple[NounPhrase, ...] | None:
    """Read "setting the birds aside", "leaving the dogs out", "with the cats not counted"."""
    if not p.take("setting", "leaving", "putting", "taking", "with", "if you leave", "if we leave", "if you set"):
        return None
    things = p.things(("and", "or"), conditions=False)
    if things is None or not p.take("aside", "out", "not counted", "not included", "excluded", "away"):
        return None
    return tuple(things)


def _of_these(p: Parser, thing: NounPhrase) -> s.Clause | None:
    """ "Of the three people, which one is furthest to the left?"."""
    p.take("which", "what")
    p.take("one", "of them")
    p.take_any(w.BE)
    chosen = p.superlative(replace(thing, quantity=None))
    return None if chosen is None or not p.at_end() else s.WhatIs(chosen)


def _single_clause(p: Parser) -> s.Clause | None:
    """The rest of the question, if it asks one thing; nothing is left of it afterwards."""
    found = clause(Parser(p.tokens[p.i :]))
    p.i = len(p.tokens)
    return found[0] if found is not None and len(found) == 1 else None


def _as_seen_from(p: Parser) -> s.Clause | None:
    """ "(Relative to) the bus, is the dog on the left?": sides are of the bus, not of the picture."""
    to = p.noun_phrase(conditions=False)
    p.take("as reference", "as the reference", "as a reference")
    if to is None or not p.take(",", ":"):
        return None
    clause = _single_clause(p)
    names = {"left": "left_of", "right": "right_of", "top": "above", "bottom": "below"}

    def of_it(thing: NounPhrase) -> NounPhrase:
        return replace(thing, conditions=tuple(map(beside, thing.conditions)))

    def beside(relation: Condition) -> Condition:
        if relation.to is not None and relation.to.pronoun:
            return replace(relation, to=to)
        return replace(relation, name=names[relation.side], side="", to=to) if relation.side in names else relation

    if isinstance(clause, s.IsAt):
        return replace(clause, conditions=tuple(map(beside, clause.conditions)))
    if isinstance(clause, (s.HowMany, s.IsThere)):
        return replace(clause, things=tuple(map(of_it, clause.things)))
    if isinstance(clause, (s.WhatIs, s.WhereIs)):
        return replace(clause, thing=of_it(clause.thing))
    if isinstance(clause, s.WhichSide) and clause.to is None:
        return replace(clause, to=to, options=tuple(names[option] for option in clause.options))
    return None


def _of_the_two(p: Parser) -> s.Clause | None:
    """ "(Between) people and cars, which are there more of?", "(comparing) the two, are there more people?"."""
    things = p.things(("and", "or"), conditions=False)
    if things is None or not p.take(",", ":"):
        return None
    rest = Parser(p.tokens[p.i :])
    p.i = len(p.tokens)
    direction = more_of(Parser([*rest.tokens, ","]))
    if direction and len(things) > 1:
        return s.WhichMore(tuple(things), direction)
    if not rest._opening() or not rest.take("more", "fewer", "less"):
        return None
    comparison = "more" if rest.tokens[rest.i - 1] == "more" else "fewer"
    named = rest.noun_phrase()
    others = [thing for thing in things if named is None or thing.noun != named.noun]
    if named is None or rest.bag([]) is None or len(others) != max(len(things) - 1, 1):
        return None
    return s.AreMore((named,), comparison, tuple(others))


Production = Callable[[Parser], s.Clause | list[s.Clause] | None]

# In their order: a question form that is the beginning of another comes after it.
PRODUCTIONS: tuple[Production, ...] = (
    greetings_only,
    area,
    portion,
    measured,
    fills_so_much,
    reckoned,
    how_many_with_more,
    how_many_missing,
    how_many_kinds,
    how_many_more,
    added_up,
    how_many,
    number_of,
    is_which,
    which_kind,
    which_more,
    times_as_many,
    are_kinds,
    guests,
    is_enough,
    would_fit,
    does_have,
    makes,
    outnumber_by,
    are_more,
    numbers_compared,
    which_side,
    which_larger,
    which_of,
    which_is,
    is_larger,
    same_color,
    color_of,
    is_text,
    read,
    does_say,
    is_there,
    mutual,
    see_or_show,
    is_without,
    is_one_of_two,
    is_so,
    has_beside,
    is_at,
    is_said,
    all_said,
    statement,
    segment,
    corners,
    point,
    where,
    describe,
    name_one,
    what_under,
    aspect,
    what,
    fragment,
    fronted,
)
