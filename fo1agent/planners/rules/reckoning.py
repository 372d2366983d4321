"""Productions that reckon with a count: a number in the question, enough for each, kinds of things."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.syntax import NounPhrase
from fo1agent.words import lexicon

_KINDS = w.phrases("kinds of | types of | sorts of | species of | kind of | type of | sort of")
_MOST_OF = w.phrases(
    "the most often | the most common | the most numerous | the most frequent | the most of | the commonest | the "
    "most | "
    "most often | most frequently | most common | most numerous | most frequent | most of | in the majority"
)
_FEWEST_OF = w.phrases(
    "the least often | the least common | the least numerous | the fewest of | the least of | the rarest | the "
    "fewest | "
    "the least | least often | least common | least numerous | least frequent | fewest of | least of"
)
_SUPPOSE = w.phrases("if | suppose | supposing | imagine | assume | assuming | say | let us say | when | once | after")
# What is done to some of the things decides whether there are then more or fewer of them.
_GONE = w.words(
    "removing taking eating away off remove removes removed leave leaves eat eats ate eaten sell sells sold "
    "borrows lose "
    "loses lost break breaks broke steal steals stole throw throws subtract subtracts drop drops vanish vanishes "
    "disappear disappears die dies sink sinks hide hides take takes took walk walks run runs fly flies swim swims "
    "go goes took sailed ran flew swam walked"
)
_TAKEN = w.words("take takes remove removes sell sells throw throws eat eats leave ignore drop subtract hide took lose")
_COME = w.words(
    "putting adding more another buy buys bought add adds added bring brings brought get gets got come comes came "
    "arrive arrives arrived "
    "join joins joined park parks parked put puts place places find finds appear appears given receive receives"
)
# What is asked of them afterwards: "how many *are left*".
_REMAINS = w.words("there left missing short needed need lacking remain remains stay behind then over buying")


def how_many_kinds(p: Parser) -> s.Clause | None:
    """ "How many (different) kinds of animals can be seen?"."""
    if not p.take("how many", "the number of", "number of", "count the"):
        return None
    p.take("different", "distinct", "various")
    if not p.take(*_KINDS):
        return None
    p.take("different")
    things = p.things(("and",), conditions=True)
    found = None if things is None else p.bag(things)
    return s.HowManyKinds(found[0]) if found and len(found) == 1 else None


def which_kind(p: Parser) -> s.Clause | None:
    """ "Which animal appears most often?", "Which fruit is there only one of?", "What kind of fruit is most
    numerous?"."""
    if commonest := p.attempt(lambda: _commonest(p)):
        return commonest
    p.take("of")  # "of which animal is there just one"
    if not p.take_any(("which", "what")):
        return None
    p.take(*_KINDS)
    thing = p.noun_phrase(conditions=False)
    if thing is None or thing.definite or thing.pronoun:
        return None
    while p.take_any(w.AUXILIARY | w.PEOPLE_PRONOUNS | w.SEE | w.APPEAR | {"there", "shown", "visible", "which"}):
        pass
    only = p.take("only", "exactly", "just")
    p.skip()
    p.take("of which there are", "of which there is")
    number: int | None = None
    if p.take(*_FEWEST_OF):
        direction = "fewest"
    elif p.take(*_MOST_OF):
        direction = "most"
    else:
        only = p.take("only", "exactly", "just") or only
        number = 1 if p.take("a single one", "a single", "one single") else p.number()
        if number is None or not only:
            return None
        direction = "most"
        p.take("of")
    found = p.bag([replace(thing, definite=False)])
    return s.WhichKind(found[0], direction, number) if found else None


def _commonest(p: Parser) -> s.Clause | None:
    """ "What is the most common animal?", "What is there the least of?"."""
    if not p.take("what is there", "what are there", "what is", "which is", "what do you see", "name", "find"):
        return None
    direction = "fewest" if p.take(*_FEWEST_OF) else "most" if p.take(*_MOST_OF) else ""
    if not direction:
        return None
    p.take(*_KINDS)
    thing = p.noun_phrase(conditions=False) or NounPhrase("", plural=True)
    found = None if thing.definite or thing.pronoun else p.bag([thing])
    return s.WhichKind(found[0], direction) if found and p.at_end() else None


def reckoned(p: Parser) -> s.Clause | None:
    """ "How many boats remain if one of them sails off?", "If I buy three more, how many books do I have?"."""
    asked = _find(p.tokens, ("how", "many"), p.i)
    if asked is None:
        asked = _find(p.tokens, ("what", "would", "the", "number", "of"), p.i)
    if asked is None:
        return None
    supposed = next((k for k in range(p.i, len(p.tokens)) if p.tokens[k] in ("if", "when", "after", "once")), None)
    if supposed is not None and supposed > asked:
        before, case = p.tokens[asked:supposed], p.tokens[supposed + 1 :]
    else:
        before, case = p.tokens[asked:], p.tokens[p.i : asked]
        supposed = _begins(case, _SUPPOSE) or set(case) & (
            _GONE | _COME | {"doubled", "each", "every", "need", "share", "want"}
        )
        if not case or not supposed:
            return None
    thing = _counted_in(before) or _counted_in_case(before, case)
    if thing is None:
        return None
    found = _changed(
        thing,
        case,
        bool({"left", "remain", "remains"} & set(before)),
        bool({"missing", "short", "lacking", "needed", "need"} & set(before)),
    )
    if found is not None:
        p.i = len(p.tokens)
    return found


def _counted_in(tokens: list[str]) -> NounPhrase | None:
    """The thing whose number is asked: "how many boats remain", "how many books do I have"."""
    asking = Parser(tokens)
    asking.take("how many", "what would the number of")
    asking.take("of the", "of", "more")
    thing = asking.noun_phrase(conditions=False)
    if thing is None or thing.pronoun:
        return None
    while asking.take_any(
        w.AUXILIARY | w.PEOPLE_PRONOUNS | w.FILLER | _REMAINS | {"that", "make", "altogether", ",", "they", "it"}
    ):
        pass
    return thing if asking.at_end() else None


def _counted_in_case(before: list[str], case: list[str]) -> NounPhrase | None:
    """The thing that only the supposition names: "if two of the birds fly off, how many stay?"."""
    asking = Parser(before)
    asking.take("how many")
    while asking.take_any(
        w.AUXILIARY | w.PEOPLE_PRONOUNS | w.FILLER | _REMAINS | {"have", "of", "them", "they", "those", "still"}
    ):
        pass
    if not asking.at_end():
        return None
    gone = next((k for k, token in enumerate(case) if token == "the" and set(case[:k]) & _TAKEN), None)
    if gone is not None:  # "I throw the pink toothbrush away"
        taken = Parser(case[gone:]).noun_phrase(conditions=False)
        return None if taken is None else NounPhrase(taken.noun.split(" ")[-1])
    for at, token in enumerate(case):
        if token in ("of", "more", "many") or token in w.NUMBERS or token.isdigit():
            parser = Parser(case[at + 1 :])
            parser.take("of")
            parser.take("the", "my", "these", "those")
            thing = _thing_at(parser)
            if thing is not None and lexicon.is_thing(thing.noun):
                return thing
    return None


_TIMES: tuple[tuple[tuple[str, ...], int], ...] = (
    (("twice as many", "twice the number", "double the number", "doubled", "doubles", "is doubled"), 2),
    (("three times as many", "tripled", "triples", "is tripled"), 3),
)


def _changed(thing: NounPhrase, case: list[str], remains: bool, missing: bool) -> s.Clause | None:
    """What a supposition does to a count."""
    said = _supposed(thing, case, missing)
    if not isinstance(said, tuple):
        return said
    numbers, each = said
    words = set(case)
    if not numbers and words & _GONE:
        return _less_these(thing, case)
    if len(numbers) != 1:
        return None
    if missing:
        if each is not None:
            return s.Reckon((thing,), "shortfall", 1, each) if numbers[0] == 1 else None
        return s.Reckon((thing,), "shortfall", numbers[0])
    if each is not None:
        return _for_each(thing, each, numbers[0], bool(words & _GONE))
    more = "more" in words or "another" in words
    if remains and (more or not words & _GONE):
        return None  # "if I buy two apples, how many are left": in the shop, or at home
    if more or (words & _COME and not words & {"away", "off", "lost", "broken", "stolen"}):
        return s.Reckon((thing,), "sum", numbers[0])
    return s.Reckon((thing,), "difference", numbers[0]) if words & _GONE else None


def _for_each(thing: NounPhrase, each: NounPhrase, number: int, gone: bool) -> s.Clause | None:
    """ "each dog loses one ball", "each dog has two balls"."""
    if gone:
        return s.Reckon((thing,), "difference", number, each)
    if lexicon.is_a(each.noun, thing.noun):
        return None  # "if every cow had two horses, how many animals": the cows are animals too
    return s.Reckon((each,), "product", number)


def _supposed(
    thing: NounPhrase, case: list[str], missing: bool
) -> tuple[list[int], NounPhrase | None] | s.Clause | None:
    """The numbers of a supposition and whom each is said of; or what it comes to, where that is clear at once."""
    parser = Parser(case)
    numbers: list[int] = []
    each: NounPhrase | None = None
    while parser.now:
        for phrases, times in _TIMES:
            if parser.take(*phrases):
                return s.Reckon((thing,), "product", times)
        whom = _each_of(parser)
        if whom is not None:
            each = whom
            continue
        if parser.now == "one" and parser.i and case[parser.i - 1] in lexicon.COLORS:  # "the blue one"
            parser.i += 1
            continue
        number = None if parser.peek(1) == "can" else parser.number()
        if number is not None:
            if parser.take("times as many"):
                return s.Reckon((thing,), "product", number)
            if not missing and _is_another(parser, number, thing):
                return None
            numbers.append(number)
        elif parser.take("another"):
            numbers += [] if parser.number() is None else [parser.number() or 1]
            before = case[parser.i - 1]
            numbers = numbers or [int(before) if before.isdigit() else w.NUMBERS.get(before, 1)]
        else:
            parser.i += 1
    return numbers, each


def _each_of(parser: Parser) -> NounPhrase | None:
    """Read "each dog", "every one of the dogs", "everyone"; None if nothing of the kind stands there."""
    if parser.now in ("each", "every") and parser._may_name(parser.peek(1)):
        parser.i += 1
        parser.take("one of", "of the", "of")
        return _thing_at(parser)
    return NounPhrase("person") if parser.take("everyone", "everybody") else None


def _is_another(parser: Parser, number: int, thing: NounPhrase) -> bool:
    """Whether what a number is said of is something else than what is counted: "two cows leave, how many horses"."""
    start = parser.i
    parser.take("of them", "of these", "of those", "of the", "of my", "of our", "of")
    parser.take("more", "extra", "additional", "other", "of the")
    named = parser.noun_phrase(conditions=False)
    parser.i = start
    if named is None or (
        named.plural != (number != 1) and lexicon.plural(named.noun) != named.noun
    ):  # a verb: "(if two) sail off"
        return False
    one = next((word for word in named.noun.split(" ") if lexicon.is_thing(word) and word not in lexicon.COLORS), "")
    other = thing.noun.split(" ")[-1]
    if not one:
        return False
    return one not in ("person", other) and not lexicon.is_a(one, other) and not lexicon.is_a(other, one)


def _thing_at(parser: Parser) -> NounPhrase | None:
    """The thing that one or two words name: "person" of "person eats"."""
    for n in (2, 1):
        noun = " ".join(parser.tokens[parser.i : parser.i + n])
        if lexicon.is_noun(noun):
            parser.i += n
            return NounPhrase(lexicon.singular(noun))
    return None


def _less_these(thing: NounPhrase, case: list[str]) -> s.Clause | None:
    """ "Take away the green suitcase, how many suitcases are left?": the others."""
    at = next((k for k, token in enumerate(case) if token == "the" and set(case[:k]) & _TAKEN), None)
    if at is None:
        return None
    parser = Parser(case[at:])
    gone = parser.things(("and",), conditions=False)
    parser.take("away", "off", "out", "leaves", "leave", "goes", ",")
    if gone is None or not parser.at_end() or any(one.noun == thing.noun and not one.conditions for one in gone):
        return None
    return s.HowMany((replace(thing, without=tuple(gone)),))


def how_many_with_more(p: Parser) -> s.Clause | None:
    """ "How many apples would three more make?"."""
    if not p.take("how many"):
        return None
    thing = p.noun_phrase(conditions=False)
    if thing is None or not p.take_any(w.MODAL | w.DO):
        return None
    number = p.number()
    if number is None or not p.take("more", "extra", "additional", "fewer", "less"):
        return None
    fewer = p.tokens[p.i - 1] in ("fewer", "less")
    p.take("of them")
    p.take("make", "be", "give", "give us", "give me", "leave")
    return s.Reckon((thing,), "difference" if fewer else "sum", number) if p.at_end() else None


def how_many_missing(p: Parser) -> s.Clause | None:
    """ "How many more books do I need to get to fifty?", "How many sheep are missing to make 1,000?"."""
    if not p.take("how many", "by how many", "if"):
        return None
    if p.tokens[p.i - 1] == "if":
        return _short(p)
    more = p.take("more")
    thing = p.noun_phrase(conditions=False)
    if thing is None:
        return None
    missing = False
    while p.take_any(
        w.AUXILIARY | w.PEOPLE_PRONOUNS | w.FILLER | {"there", "need", "needed", "missing", "lacking", "short", "still"}
    ):
        missing |= p.tokens[p.i - 1] in ("need", "needed", "missing", "lacking", "short")
    if not (more or missing):
        return None
    if p.take("to get to", "to make", "to have", "to reach", "for", "until there are", "to get", "to be", "to come to"):
        number = p.number()
        p.take("of them", thing.noun, lexicon.plural(thing.noun), "in total", "altogether")
        if number is not None and p.at_end():
            return s.Reckon((thing,), "shortfall", number)
        return None
    if p.take("so that", "so", "that", "in order that", "for"):
        per = _each(p)
        p.take("gets", "has", "can have", "to have", "have", "to get", "can get", "owns")
        p.take("one", "one each", "its own", "their own", "a", "an")
        p.take(thing.noun, "each")
        if per is not None and p.at_end():
            return s.Reckon((thing,), "shortfall", 1, per)
    return None


def _short(p: Parser) -> s.Clause | None:
    """ "(If) every person wants an umbrella of their own, how many umbrellas are we short?"."""
    per = _each(p)
    if per is None or not p.take_any(_WANT):
        return None
    what = p.noun_phrase(conditions=False)
    p.take("of their own", "of its own", "each", "to themselves")
    p.take(",")
    if what is None or not p.take("how many"):
        return None
    p.take("more")
    p.noun_phrase(conditions=False)
    while p.take_any(
        w.AUXILIARY
        | w.PEOPLE_PRONOUNS
        | w.FILLER
        | {"short", "missing", "needed", "need", "there", "lacking", "too", "few"}
    ):
        pass
    return s.Reckon((what,), "shortfall", 1, per) if p.at_end() else None


_WANT = w.words("wants want wanted needs need needed gets get got has had takes take took should could can would")


def are_kinds(p: Parser) -> s.Clause | None:
    """ "Are there five different kinds of animals?": so many different names."""
    if not p._opening():
        return None
    quantity = p.quantity()
    p.take("different", "distinct")
    if quantity is None or not quantity.comparison or not p.take(*_KINDS):
        return None
    thing = p.noun_phrase(conditions=False)
    found = None if thing is None else p.bag([thing])
    if not found:
        return None
    return s.IsEnough((found[0],), quantity.comparison, quantity.number, kinds=True)


def guests(p: Parser) -> s.Clause | None:
    """ "Four guests want a cup each. Are there enough cups?": at least so many."""
    number = p.number()
    if number is None or number < 2 or "," not in p.tokens:
        return None
    at = len(p.tokens) - 1 - p.tokens[::-1].index(",")
    asked = Parser(p.tokens[at + 1 :])
    if not asked.take("are there", "is there", "do we have", "are those", "would that be"):
        return None
    enough = asked.take("enough", "sufficient")
    each = not enough and asked.take("a", "an", "one")
    what = asked.noun_phrase(conditions=False) if enough or each else None
    if what is None or (
        each and not asked.take("for each of them", "for everyone", "for each", "each", "for all of them")
    ):
        return None
    asked.take("for them", "for all of them", "for everyone", "for everybody")
    if not asked.at_end():
        return None
    p.i = len(p.tokens)
    return s.IsEnough((_any(what),), "at_least", number)


def is_enough(p: Parser) -> s.Clause | None:
    """ "If every person needs a boat, are there enough?", "Are there enough cups for each person?"."""
    if p.take("if", "suppose", "supposing", "should"):
        per = _each(p)
        if per is None or not p.take_any(_WANT):
            return None
        p.take("to have", "have", "be given")
        times = p.number() or 1
        what = p.noun_phrase(conditions=False)
        p.take("of their own", "of its own", "each", "to themselves")
        if what is None or not p.take(","):
            return None
        p.take(
            "are there",
            "is there",
            "would there be",
            "do we have",
            "will there be",
            "would that be",
            "are those",
            "have we",
        )
        if not p.take("enough"):
            return None
        p.take("of them", lexicon.plural(what.noun))
        return s.IsEnough((_any(what),), "at_least", per, times) if p.at_end() else None
    if not p.take("are there", "is there", "do we have", "do you see", "would there be"):
        return None
    enough = p.take("enough")
    if not enough and not p.take("a", "an", "one"):
        return None
    what = p.noun_phrase(conditions=False)
    if what is None or not p.take("for", "so that", "so") or not (enough or p.now in ("each", "every", "everyone")):
        return None
    number = p.number()
    per = None if number is not None else _each(p)
    if number is not None:
        p.noun_phrase(conditions=False)
    while p.take_any(
        w.FILLER | {"to", "have", "get", "gets", "has", "one", "each", "a", "an", "can", "their", "its", "own"}
    ):
        pass
    p.take(what.noun)
    needed = number if per is None else per
    return None if needed is None or not p.at_end() else s.IsEnough((_any(what),), "at_least", needed)


def would_fit(p: Parser) -> s.Clause | None:
    """ "Would three people fit one per boat?", "Could five people each have a chair?"."""
    if not p.take_any(w.MODAL):
        return None
    number = p.number()
    if number is None or p.noun_phrase(conditions=False) is None:
        return None
    if p.take("fit one per", "fit one to a", "fit with one per", "sit one per", "sit one to a"):
        what = p.noun_phrase(conditions=False)
    elif p.take("each have", "each get", "each take", "each use"):
        what = p.noun_phrase(conditions=False)
        p.take("of their own")
    else:
        return None
    return None if what is None or not p.at_end() else s.IsEnough((_any(what),), "at_least", number)


def times_as_many(p: Parser) -> s.Clause | None:
    """ "Are there twice as many boats as dogs?", "Are there three times as many cats as dogs?"."""
    opened = p._opening() or bool(p.take_any(w.BE | w.DO))
    if not opened:
        return None
    comparison = "at_least" if p.take("at least") else "more" if p.take("more than") else "equal"
    p.take("exactly")
    if p.take("twice as many", "double the number of"):
        times = 2
    elif p.take("half as many"):
        times = -2
    else:
        number = p.number()
        if number is None or not p.take("times as many"):
            return None
        times = number
    left = p.noun_phrase()
    p._aside()
    if left is None or not p.take("as", "compared to", "than"):
        return None
    p.take("there are")
    right = p.noun_phrase()
    if right is None or p.bag([]) is None:
        return None
    return s.IsEnough((right,), comparison, left, 2) if times < 0 else s.IsEnough((left,), comparison, right, times)


def outnumber_by(p: Parser) -> s.Clause | None:
    """ "Do the cups outnumber the bowls by more than one?"."""
    p.take_any(w.DO)
    left = p.noun_phrase(conditions=False)
    if left is None or not p.take("outnumber", "outnumbers", "exceed", "exceeds"):
        return None
    right = p.noun_phrase(conditions=False)
    if right is None or not p.take("by"):
        return None
    comparison = "more" if p.take("more than") else "at_least" if p.take("at least") else "equal"
    p.take("exactly")
    number = p.number()
    if number is None or not p.at_end():
        return None
    return s.IsEnough((_any(left),), comparison, _any(right), more=number)


def makes(p: Parser) -> s.Clause | None:
    """ "Do the people and the umbrellas make seven together?"."""
    if not p.take_any(w.DO):
        return None
    things = p.things(("and", "plus"), conditions=False)
    if things is None or len(things) < 2 or not p.take("make", "add up to", "come to", "equals", "total", "number"):
        return None
    p.take("up to", "exactly")
    number = p.number()
    if number is None:
        return None
    p.take("when you put them", "if you put them", "when put", "in all", "when you add them", "if you add them")
    p.take("together", "up")
    return s.IsEnough(tuple(_any(thing) for thing in things), "equal", number) if p.at_end() else None


def _each(p: Parser) -> NounPhrase | None:
    """Read "each person", "every one of the people", "everyone"."""
    if p.take("everyone", "everybody", "all people"):
        return NounPhrase("person")
    if p.take("each of them", "every one of them"):
        return NounPhrase("", definite=True, plural=True, pronoun="them")
    if not p.take("each of the", "each one of the", "each of", "each", "every", "all of the", "all the", "all"):
        return None
    return _thing_at(p)


def _any(thing: NounPhrase) -> NounPhrase:
    return replace(thing, definite=False, quantity=None)


def _find(tokens: list[str], wanted: tuple[str, ...], start: int) -> int | None:
    return next((k for k in range(start, len(tokens)) if tuple(tokens[k : k + len(wanted)]) == wanted), None)


def _begins(tokens: list[str], options: tuple[str, ...]) -> bool:
    return any(tokens[: len(option.split())] == option.split() for option in options)
