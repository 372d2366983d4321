"""Productions about what there is and where it is."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.syntax import Condition, NounPhrase
from fo1agent.regions.ids import is_region_id
from fo1agent.words import lexicon

_SEVERAL = w.phrases(
    "multiple | several | many | numerous | a few | a couple of | various | lots of | a lot of | plenty of"
)
_WHICH_SIDE = w.phrases(
    "on which side | on what side | to which side | to what side | at which side | which side | what side | "
    "in which half | on which half"
)
_LOCATE = w.phrases(
    "locate | find | point out | highlight | mark | show me where | show me | show | detect | pinpoint | "
    "give me the location of | identify | draw a box around | draw boxes around | "
    "put a box around | put boxes around | put a rectangle around | draw a rectangle around | circle | label | tag | "
    "frame | underline"
)


_EACH_OTHER = (
    (w.phrases("overlapping | overlap | touching | touch | in contact | intersect"), "overlaps"),
    (w.phrases("next to | beside | side by side | adjacent"), "next_to"),
    (w.phrases("close together | near together | close to | close by | close | near to | near"), "near"),
)
_TO_EACH_OTHER = w.phrases(
    "to each other | with each other | each other | one another | to one another | together | by each other"
)


def is_there(p: Parser) -> s.Clause | None:
    """ "Is there a dog?", "Are there more than two cars?", "Any dogs?"."""
    if not (_is_there_opening(p) or p.take("any", "got any")):
        return None
    p.i -= 1 if p.tokens[p.i - 1] == "any" else 0
    return exist(p)


def _is_there_opening(p: Parser) -> bool:
    start = p.i
    if p.take_any(w.BE) and (p.take("there") or p.take("not there")):
        return True
    p.i = start
    if p.take("there") and (p.take_any(w.BE) or p.take("exists", "exist")):
        return True
    p.i = start
    if p.take_any(w.DO) and p.take("there") and p.take("exist", "appear to be", "seem to be"):
        return True
    p.i = start
    return False


def exist(p: Parser) -> s.Clause | None:
    p._aside()
    p.take("not")
    if p.take("neither"):
        first = p.noun_phrase()
        second = p.noun_phrase() if first is not None and p.take("nor") else None
        if first is None or second is None:
            return None
        found = p.bag([replace(first, negative=True), replace(second, negative=True)])
        return s.IsThere(tuple(found)) if found else None
    p.take("also", "by any chance")
    comparison, number = quantity(p)
    any_will_do = False
    start = p.i
    things = p.things(("or",))
    if things is not None and len(things) > 1 and "or" in p.tokens[start : p.i]:
        any_will_do = True
    else:
        p.i = start
        things = p.things(("and", "plus"))
    if things is None:
        return None
    if comparison == "equal" and p.take("or more", "or greater"):
        comparison = "at_least"
    if p.take("or fewer", "or less"):
        comparison = "at_most"
    if comparison and any(
        thing.quantity or not thing.plural for thing in things[1:]
    ):  # "more than one pizza and fewer than five cups"
        things = [replace(things[0], quantity=s.Quantity("", comparison, number)), *things[1:]]
        comparison, number = "", 0
    found = p.bag(things)
    return s.IsThere(tuple(found), any_will_do, comparison, number) if found else None


def quantity(p: Parser) -> tuple[str, int]:
    """Read "more than two", "at least 3", "only one", "several"; ("", 0) where nothing of the kind stands."""
    start = p.i
    for phrases, comparison in (
        (("no more than", "not more than", "at most", "up to", "maximum"), "at_most"),
        (("no less than", "no fewer than", "at least", "not less than"), "at_least"),
        (("more than", "over", "above"), "more"),
        (("fewer than", "less than", "under", "below"), "fewer"),
        (("exactly", "precisely", "only", "just", "a total of", ""), "equal"),
    ):
        p.i = start
        if phrases[-1] != "" and not p.take(*phrases):
            continue
        p.take(*(phrase for phrase in phrases if phrase)) if phrases[-1] == "" else None
        only = p.i > start
        p.take("exactly")
        given = p.i
        number = p.number()
        if number is not None and p.now == "of":
            p.i, number = given, None
        if number is not None:
            if p.take("or more"):
                return "at_least", number
            return ("at_most", number) if p.take("or fewer", "or less") else (comparison, number)
        if only and p.take("a single", "a", "an", "single"):
            return comparison, 1
    p.i = start
    if p.take(*_SEVERAL):
        return "at_least", 2
    return "", 0


def see_or_show(p: Parser) -> s.Clause | None:
    """ "Do you see a dog?", "Does the picture show dogs?", "Is this a picture of a dog?"."""
    return exist(p) if p._opening() else None


def mutual(p: Parser) -> s.Clause | None:
    """ "Do the bus and the car overlap?", "Are the dog and the person close to each other?"."""
    if not p.take_any(w.BE | w.DO):
        return None
    for said, name in _EACH_OTHER:
        things = p.before(said, lambda before: before.things(("and",), conditions=False))
        if things is not None and len(things) == 2 and all(thing.definite for thing in things):
            p.take(*_TO_EACH_OTHER)
            first, second = things
            return s.IsAt(first, (Condition(name, second),)) if p.at_end() else None
    return None


def is_without(p: Parser) -> s.Clause | None:
    """ "Is the picture without dogs?", "Are cats absent?"."""
    start = p.i
    if p.take_any(w.BE):  # "are cats absent", "is the bus missing from the picture"
        things = p.things(("and", "or"), conditions=False)
        if things is not None and p.take("absent", "missing", "not visible", "not present", "nowhere"):
            p.take("from view", "to be seen", "to be found")
            return s.IsThere(tuple(replace(thing, negative=True) for thing in things))
    p.i = start
    lacking = p.take_any(w.DO) and p.attempt(p._picture_subject) and p.take("lack")
    p.i = p.i if lacking else start
    if not lacking and not (p.take_any(w.BE) and p.attempt(p._picture_subject) and p.take("without")):
        return None
    things = p.things(("and", "or"))
    return None if things is None else s.IsThere(tuple(replace(thing, negative=True) for thing in things))


def is_colored(p: Parser) -> s.Clause | None:
    """ "Is the car red?", "Are all cars red?", "How many of the cars are red?", "Which car is red?"."""
    asked = p.now
    if not p.take("how many", "which", "what") and not p.take_any(w.BE):
        return None
    of = p.take("all of", "both of", "each of", "every one of", "all", "both", "every", "each")
    p.take("of")
    thing = p.noun_phrase(conditions=False)
    if thing is None or not thing.noun or thing.negative:
        return None
    *words, color = thing.noun.split(" ")
    if words and color in lexicon.COLORS:  # "are the cars red": nothing stands between
        thing = replace(thing, noun=lexicon.singular(" ".join(words)), plural=lexicon.is_plural(words[-1]))
    else:
        color = p.take_any(lexicon.COLORS) if p.take_any(w.BE) else ""
    if not color or not p.at_end():
        return None
    colored = replace(thing, noun=f"{color} {thing.noun}")
    if asked == "how":
        return s.HowMany((colored,))
    if asked in ("which", "what"):
        return s.WhereIs(colored)
    if of or (thing.definite and thing.plural):
        return s.AreMore((colored,), "equal", (thing,))
    return s.IsThere((colored,))


def has_beside(p: Parser) -> s.Clause | list[s.Clause] | None:
    """ "Does the bus have a dog on its left?", "The bus has how many people to its left?"."""
    p.take_any(w.DO)
    owner = p.noun_phrase(conditions=False)
    if owner is None or owner.noun in w.PICTURE or not p.take_any(w.HAVE):
        return None
    counting = p.take("how many")
    things = p.things(conditions=False)
    relation = p.relation() if things is not None else None
    if things is None or relation is None or relation.to is None or not relation.to.pronoun:
        return None
    things = [thing.at(replace(relation, to=owner)) for thing in things]
    if counting:
        return s.HowMany(tuple(things))
    return _at(p, things[0], "") if len(things) == 1 else s.IsThere(tuple(things))


def is_at(p: Parser) -> s.Clause | None:
    """ "Is the dog to the left of the cat?", "Is a dog visible?", "Does the dog appear on the left?"."""
    verb = p.take_any(w.BE | w.DO | w.MODAL | w.HAVE)
    if not verb:
        return None
    p.take("not")
    comparison, number = quantity(p)  # "is at least one dog visible"
    start = p.i
    things = p.things(("and", "or"))
    if things is None:
        return None
    if not comparison and len(things) == 1 and things[0].conditions and p._empty_rest():
        return _at(p, _as_verb(things[0], verb), p.tokens[start])
    p.i = start
    things = p.things(("and", "or"), conditions=False)
    if things is None or any(thing.pronoun == "this" for thing in things):
        return None
    before = p.i
    found = p.bag(list(things))
    if found is None or p.i == before:
        return None
    any_will_do = "or" in p.tokens[start:before]
    if comparison:
        return s.IsThere(tuple(found), any_will_do, comparison, number)
    if found[0].conditions and (found[0].definite or len(found) > 1):
        clauses = [_at(p, _as_verb(thing, verb), p.tokens[start]) for thing in found]
        return clauses[0] if len(clauses) == 1 else s.IsThere(tuple(found), any_will_do)
    return s.IsThere(tuple(found), any_will_do)


def _at(p: Parser, thing: NounPhrase, first_word: str) -> s.Clause:
    """The last relation is what is asked; those before it say which thing is meant."""
    if not thing.definite and first_word not in ("all", "every", "each"):
        return s.IsThere((thing,))
    if first_word in ("all", "every", "each"):
        thing = replace(thing, plural=True, definite=True)
    *given, asked = thing.conditions
    return s.IsAt(replace(thing, conditions=tuple(given)), (asked,))


def statement(p: Parser) -> s.Clause | None:
    """ "The dog is to the left of the cat.", "Two dogs are visible."."""
    first = p.now
    thing = p.noun_phrase(conditions=False)
    if thing is None or not p.take_any(w.BE | w.STANCE | w.APPEAR):
        return None
    if p.take_any(w.SHOWN):
        return s.IsThere((thing,)) if p._empty_rest() else None
    found = p.bag([thing])
    if not found:
        return None
    return _at(p, found[0], first) if found[0].conditions else s.IsThere(tuple(found))


def which_side(p: Parser) -> s.Clause | None:
    """ "Is the dog on the left or on the right of the cat?", "On which side of the cat is the dog?"."""
    if p.take(*_WHICH_SIDE):
        return _on_which_side(p)
    if not p.take_any(w.BE | w.DO):
        return None
    thing = p.noun_phrase(conditions=False)
    if thing is None:
        return None
    while p.take_any(w.STANCE | w.APPEAR | w.FILLER) or p.take("to be"):
        pass
    start = p.i
    p.take("to", "on", "at")
    owner = p.attempt(p._owned_side)
    if owner is None:
        p.i = start
    first = _side_option(p)
    if owner is None and not p.scope() and p.take("of"):  # "on the left of the bus or on the right"
        owner = p.noun_phrase(conditions=False)
    if not first or not p.take("or"):
        return None
    p.take("is it", "rather")
    second = _side_option(p)
    if not second:
        return None
    if owner is not None:
        return s.WhichSide(thing, (first, second), owner)
    if p.scope() or p.at_end():
        return _side_of_the_picture(p, thing, first, second)
    p.take("of", "from", "to", "than")
    to = p.noun_phrase(conditions=False)
    return None if to is None else s.WhichSide(thing, (first, second), to)


def _on_which_side(p: Parser) -> s.Clause | None:
    """ "(on which side) of the cat is the dog", "(on which side) is the dog"."""
    to = None
    if p.take("of") and not p.attempt(p._picture_subject):
        to = p.noun_phrase(conditions=False)
    p.take_any(w.BE | w.DO)
    thing = p.noun_phrase(conditions=False)
    if thing is None:
        return None
    while p.take_any(w.STANCE | w.APPEAR | {"on", "in", "at"}):
        pass
    if to is None and p.take("of"):
        to = None if p.attempt(p._picture_subject) else p.noun_phrase(conditions=False)
    p.take(", left or right", ", the left or the right", ", the left or right", ", on the left or on the right")
    return s.WhichSide(thing, ("left", "right") if to is None else ("left_of", "right_of"), to)


def _side_of_the_picture(p: Parser, thing: NounPhrase, first: str, second: str) -> s.Clause:
    said = [word for word in p.tokens if word in w.SIDES and w.SIDES[word] in ("top", "bottom")]
    if len(said) == 2:  # "the upper or the lower half": answered in the words of the question
        sides = tuple((word, Condition(side=w.SIDES[word])) for word in said)
        return s.WhichOf(sides, thing)
    simple = {"left_of": "left", "right_of": "right", "above": "top", "below": "bottom"}
    return s.WhichSide(thing, (simple[first], simple[second]))


def _side_option(p: Parser) -> str:
    p.take("to", "on", "at", "in")
    p.take("the", "its", "their")
    side = p.take_any(("left", "right", "above", "below", "top", "bottom", "over", "under", "higher", "lower",
                          "upper"))  # fmt: skip
    p.take_any(w.SIDE_PARTS)
    return {"left": "left_of", "right": "right_of", "above": "above", "over": "above", "top": "above",
            "higher": "above", "upper": "above", "lower": "below"}.get(side, "below" if side else "")  # fmt: skip


def where(p: Parser) -> s.Clause | list[s.Clause] | None:
    """ "Where is the dog?", "Locate the bus.", "Show me the cars."."""
    if p.take("where", "whereabouts", "in which part of the picture", "in what part of the picture", "in which area"):
        p.take("exactly", "abouts")
        p.scope()
        if p.take_any(w.MODAL | w.DO):
            p.take_any(w.PEOPLE_PRONOUNS)
            p.take_any(w.SEE)
        elif p.take_any(w.BE):
            p.take("there")
    elif p.take(*_LOCATE):
        p.take("where", "the position of", "the location of")
        p.take_any(w.BE)
    elif p.take("what is the position of", "what is the location of"):
        pass
    else:
        return None
    start = p.i
    thing = p.noun_phrase(conditions=False)
    while p.take_any(w.STANCE):
        pass
    if thing and p.take("relative to", "with respect to", "in relation to", "with regard to", "than"):
        to = p.noun_phrase(conditions=False)
        p.take(", left or right", ", to the left or to the right", ", on the left or on the right")
        return None if to is None else s.WhichSide(thing, ("left_of", "right_of"), to)
    p.i = start
    thing = p.noun_phrase()
    if thing is None or thing.negative or (thing.quantity is not None and thing.quantity.share in ("most", "half")):
        return None
    more = p.attempt(lambda: _more_ids(p))
    if more:
        return [s.WhereIs(one) for one in (thing, *more)]
    found = p.bag([thing])
    return s.WhereIs(found[0]) if found else None


def _more_ids(p: Parser) -> list[NounPhrase] | None:
    """ "(where are r0), r2 and r6": an id has no article that would tell it from what is said of r0."""
    more: list[NounPhrase] = []
    while p.take(", and", ",", "and") and is_region_id(p.now):
        more.append(NounPhrase(p.now, definite=True))
        p.i += 1
    return more if p.at_end() else None


def _as_verb(thing: NounPhrase, verb: str) -> NounPhrase:
    """ "Is the skis …" speaks of one thing, whatever the noun looks like."""
    return replace(thing, plural=False) if verb in ("is", "was", "does") else thing
