"""Parses noun phrases and where-relations: "the second red car from the left", "on the left half of the picture".

A recursive-descent parser with backtracking: each method reads from the current position, and either moves it and
returns what it read, or leaves it where it was and returns None (or False).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.syntax import Condition, NounPhrase, Quantity
from fo1agent.words import lexicon

T = TypeVar("T")

_EMPTY_PHRASES = w.phrases("in total | in all | to be | if any | would you say | do you think | by you | of them")

_OPPOSITES = {"left_of": "right_of", "right_of": "left_of"}

# Longest first; each is followed by the thing it relates to.
_RELATIONS: tuple[tuple[str, str], ...] = (
    ("in close proximity to", "near"),
    ("in the vicinity of", "near"),
    ("in the neighborhood of", "near"),
    ("in the proximity of", "near"),
    ("in proximity to", "near"),
    ("not far from", "near"),
    ("close to", "near"),
    ("near to", "near"),
    ("nearby", "near"),
    ("near", "near"),
    ("around", "near"),
    ("by the side of", "next_to"),
    ("at the side of", "next_to"),
    ("on the side of", "next_to"),
    ("side by side with", "next_to"),
    ("next to", "next_to"),
    ("adjacent to", "next_to"),
    ("beside", "next_to"),
    ("alongside", "next_to"),
    ("along", "next_to"),
    ("against", "next_to"),
    ("by", "next_to"),
    ("in the front of", "in_front_of"),
    ("in front of", "in_front_of"),
    ("ahead of", "in_front_of"),
    ("in the back of", "behind"),
    ("in back of", "behind"),
    ("at the back of", "behind"),
    ("behind", "behind"),
    ("on the top of", "on"),
    ("on top of", "on"),
    ("at the top of", "above"),
    ("at the bottom of", "below"),
    ("atop", "on"),
    ("upon", "on"),
    ("seated on", "on"),
    ("seated in", "inside"),
    ("seated at", "next_to"),
    ("riding on", "on"),
    ("riding", "on"),
    ("rides on", "on"),
    ("rides", "on"),
    ("further up than", "above"),
    ("farther up than", "above"),
    ("higher up than", "above"),
    ("higher than", "above"),
    ("further down than", "below"),
    ("farther down than", "below"),
    ("lower down than", "below"),
    ("lower than", "below"),
    ("above", "above"),
    ("over", "above"),
    ("underneath", "below"),
    ("beneath", "below"),
    ("under", "below"),
    ("below", "below"),
    ("inside of", "inside"),
    ("inside", "inside"),
    ("within", "inside"),
    ("in contact with", "overlaps"),
    ("touching", "overlaps"),
    ("overlapping", "overlaps"),
    ("with", "overlaps"),
    ("onto", "on"),
    ("on", "on"),
    ("in", "inside"),
    ("at", "inside"),
)
# Words for contact of which boxes tell no more than that they overlap: the rest is asked for as words.
_CONTACT = w.words(
    "wearing holding carrying using pushing pulling wear wears hold holds carry carries use uses push pushes pull pulls"
)
_EXCEPT = w.phrases(
    "not counting | without counting | not including | without including | except for | except | excepting | "
    "excluding | "
    "other than | apart from | aside from | leaving out | leaving aside | leave out | leave aside | ignoring | "
    "ignore | "
    "do not count | did not count | disregarding | disregard | besides | but not"
)
_ANOTHER_COLOR = w.phrases(
    "any color but | a color but | any color except | some color other than | a color other than | "
    "any color other than | a different color than | other than"
)
_MEANING = w.phrases("meaning | i mean | by which i mean | that is to say | namely | in other words | i e")
_SHARES = (
    ("all", w.phrases("all of | all | every single one of | every one of | every | each one of | each of | each | "
                      "both of | both")),
    ("at_least_half", w.phrases("at least half of | at least half")),
    ("most", w.phrases("more than half of | more than half | most of | most | the majority of | a majority of | "
                       "the greater part of | the bulk of")),
    ("half", w.phrases("exactly half of | exactly half | half of | half | 50 % of")),
    ("none", w.phrases("none of | not any of | not one of | not a single one of | not a single | neither of | "
                       "no one of | neither")),
    ("not_all", w.phrases("not all of | not all | not every one of | not every | not each of")),
    ("some", w.phrases("some of | any of | either of | any one of | one or more of | any | some")),
)  # fmt: skip

_COMPARISONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("no more than", "not more than", "at most", "up to", "maximum"), "at_most"),
    (("no less than", "no fewer than", "at least", "not less than"), "at_least"),
    (("more than", "over"), "more"),
    (("fewer than", "less than", "under"), "fewer"),
    (("exactly", "precisely", "only", "just", "a total of"), "equal"),
)
_HERE = w.phrases(
    "up there | over there | down there | out there | right there | right here | here | in view | in sight | in shot | "
    "in total | in all | at all | all in all | in sum | for me | for us | to me | to us | in this one | in that one | "
    "right now | at the moment | at present"
)
_RELATION_TOKENS = tuple((tuple(phrase.split()), name) for phrase, name in _RELATIONS)

_RELATION_STARTS = frozenset(parts[0] for parts, _ in _RELATION_TOKENS)

_DIRECTIONS = {"left": "left_of", "right": "right_of"}
_SIDEWAYS = {**_DIRECTIONS, "top": "above", "bottom": "below"}
_EMPHASIS = w.words(
    "directly immediately somewhere just physically positioned located situated placed further farther more "
    "off over towards toward up down out back"
)
_DEGREES = w.words("slightly barely far well much way considerably")


@lru_cache(maxsize=4096)
def _by_first_word(phrases: tuple[str, ...]) -> dict[str, list[list[str]]]:
    """First word → the phrases, in words, that begin with it, in their order."""
    found: dict[str, list[list[str]]] = {}
    for phrase in phrases:
        words = phrase.split()
        if words:
            found.setdefault(words[0], []).append(words)
    return found


class Parser:
    """Reads noun phrases and what is said of them from tokens; `i` is the position.

    Args:
        tokens: of one sentence.
        lenient: whether words that fit nothing become what is said of a thing, to be judged or named as not judged.
    """

    def __init__(self, tokens: list[str], lenient: bool = False) -> None:
        self.tokens = tokens
        self.lenient = lenient
        self.contrary = False
        self.i = 0

    # ---- tokens ----

    @property
    def now(self) -> str:
        """The current token; "" at the end."""
        return self.peek(0)

    def peek(self, ahead: int) -> str:
        """The token so many places on; "" beyond the end."""
        at = self.i + ahead
        return self.tokens[at] if at < len(self.tokens) else ""

    def take(self, *options: str) -> bool:
        """Read one of the phrases (each of one or more words), the first that fits."""
        for parts in _by_first_word(options).get(self.now, ()):
            if self.tokens[self.i : self.i + len(parts)] == parts:
                self.i += len(parts)
                return True
        return False

    def take_any(self, choices: Iterable[str]) -> str:
        """Read one token if it is among the choices; "" if not."""
        if self.now and self.now in choices:
            self.i += 1
            return self.tokens[self.i - 1]
        return ""

    def attempt(self, read: Callable[[], T | None]) -> T | None:
        """Read, and go back to where it began when nothing came of it."""
        start = self.i
        result = read()
        if result is None:
            self.i = start
        return result

    def before(self, phrases: Sequence[str], read: Callable[[Parser], T | None]) -> T | None:
        """Read what stands before the first of the phrases that leaves sense before it, and the phrase: "(does) the bus
        | take up", where the verb could be taken for a noun."""
        for at in range(self.i + 1, len(self.tokens)):
            ahead = Parser(self.tokens[at:])
            if not ahead.take(*phrases):
                continue
            first = Parser(self.tokens[self.i : at], self.lenient)
            found = read(first)
            if found is not None and first.at_end():
                self.i = at + ahead.i
                return found
        return None

    # ---- numbers ----

    def number(self) -> int | None:
        """Read "7", "twenty five", "two hundred", "a dozen", "half a dozen", "a couple of"."""
        return self.attempt(self._number)

    def _number(self) -> int | None:
        if self.take("half a dozen"):
            return 6
        if self.take("a couple of", "a couple", "a pair of"):
            return 2
        total: int | None = None
        if self.now in ("a", "one") and self.peek(1) in w.MULTIPLES:
            self.i += 1
            total = 1
        while self.now:
            if self.now.isdigit() and total is None and len(self.now) < 10:
                total = int(self.now)
            elif self.now in w.NUMBERS and (total is None or (total % 10 == 0 and total != 10)):
                total = (total or 0) + w.NUMBERS[self.now]
            elif self.now in w.MULTIPLES and (total is not None or self.now == "dozen"):
                total = (1 if total is None else total) * w.MULTIPLES[self.now]
            elif self.now == "and" and total and self.peek(1) in w.NUMBERS and self.tokens[self.i - 1] in w.MULTIPLES:
                pass
            else:
                break
            self.i += 1
        return total

    def quantity(self) -> Quantity | None:
        """Read "all (of)", "most", "at least two", "no more than 3", "exactly one of"."""
        return self.attempt(self._quantity)

    def _quantity(self) -> Quantity | None:
        for share, options in _SHARES:
            starts = self.i
            if self.take(*options):
                return self._shared(share, self.tokens[starts])
        if self.take("several", "a few", "multiple", "numerous", "various"):
            return Quantity("", "at_least", 2)
        if self.now in ("few", "many", "lots", "plenty") and self.take("few", "many", "lots of", "plenty of"):
            return Quantity("vague")
        for phrases, comparison in _COMPARISONS:
            compared = self.attempt(lambda said=phrases, how=comparison: self._compared_number(said, how))
            if compared is not None:
                return compared
        number = self.number()
        if number == 1 and self.take("of"):
            return Quantity("some")
        if number is None or number == 1 or (self.now not in ("of", "out") and not self._may_name(self.now)):
            return None
        if self.take("out of", "of"):
            whole = self.attempt(self.number)  # "two out of three kites"
            if whole is not None:
                return Quantity("", "equal", number, whole)
        return Quantity("", "equal", number)

    def _shared(self, share: str, word: str) -> Quantity | None:
        """What "all", "both" or "some", read as `word`, comes to with what follows it."""
        if word == "both":
            listed = self.now in ("a", "an") or "and" in self.tokens[self.i : self.i + 4]  # "both a cat and"
            return Quantity("some") if listed else Quantity("all", of=2)
        if share == "all" and self.now in ("but", "except") and self.peek(1) in w.NUMBERS:  # "all but one of"
            self.i += 1
            number = self.number() or 1
            self.take("of")
            return Quantity("", "all_but", number)
        if share == "all" and self.now in ("other", "another"):
            return None
        return Quantity(share)

    def _compared_number(self, phrases: tuple[str, ...], comparison: str) -> Quantity | None:
        """Read "at least two", "exactly a single"."""
        if not self.take(*phrases):
            return None
        self.take("exactly")
        number = 1 if comparison == "equal" and self.take("a single", "a", "an") else self.number()
        if number is None:
            return None
        self.take("single")
        self.take("of")
        return Quantity("", comparison, number)

    # ---- words that say nothing about what is wanted ----

    def skip(self) -> None:
        """Pass over fillers and over phrases that only say "in this picture"."""
        while self.take_any(w.FILLER) or self.scope():
            pass

    def scope(self) -> bool:
        """Read "in the picture", "of this photo", "here", "that you can see", "that are visible"."""
        if self.take(*_HERE):
            return True
        if w.PICTURE & set(self.tokens[: self.i]) and self.take("in it", "on it", "inside it", "on them", "in them"):
            return True  # "does the picture have a dog in it"
        return bool(self.attempt(self._in_the_picture) or self.attempt(self._that_is_seen))

    def _in_the_picture(self) -> bool | None:
        """Read "in the picture", "across the whole photo"."""
        if not self.take_any(
            ("in", "on", "within", "inside", "from", "of", "across", "throughout", "at", "into", "for")
        ):
            return None
        if self.now in ("both", "each", "every", "other", "another", "all"):
            return None  # there is but one picture
        self.take_any(w.DETERMINERS)
        while self.take_any(("given", "above", "entire", "whole", "attached", "uploaded", "provided", "same", "full")):
            pass
        return bool(self.take_any(w.PICTURE)) or None

    def _that_is_seen(self) -> bool | None:
        """Read "that you can see", "we see", "that are visible", "that is shown"."""
        if self.now not in w.PEOPLE_PRONOUNS | w.MODAL | {"that", "which", "who"}:
            return None
        return self._any_of((self._people_see, self._is_shown))

    def _people_see(self) -> bool:
        self.take_any(("that", "which", "who"))
        self.take_any(w.MODAL)
        if not self.take_any(w.PEOPLE_PRONOUNS):
            return False
        self.take_any(w.MODAL)
        sees = bool(self.take_any(w.SEE))
        self.take("out")
        return sees

    def _is_shown(self) -> bool:
        self.take_any(("that", "which", "who"))
        if not self.take_any(w.MODAL | w.BE):
            return False
        self.take("be")
        return bool(self.take_any(w.SHOWN)) and not self._starts_relation()

    # ---- noun phrases ----

    def noun_phrase(self, conditions: bool = True) -> NounPhrase | None:
        """Read a noun phrase, with the relations that follow it unless they are not wanted."""
        return self.attempt(lambda: self._noun_phrase(conditions))

    def _noun_phrase(self, conditions: bool) -> NounPhrase | None:
        quantity = self.quantity()
        while self.take_any(w.FILLER):
            pass
        pronoun = self._pronoun()
        if pronoun is not None:
            pronoun = replace(
                pronoun, plural=pronoun.plural or quantity is not None, quantity=quantity or pronoun.quantity
            )
            return self._after(pronoun) if conditions else pronoun
        self.take("different", "distinct", "individual", "separate")
        before = self._determined(quantity or self.quantity())
        if before is None:
            return None
        if (
            before.definite and self.now in w.DIRECTION_ORDER and self.peek(1) in ("or", "and", ",", "")
        ):  # "the left or the right"
            self.i += 1
            return NounPhrase("", definite=True, order=w.DIRECTION_ORDER[self.tokens[self.i - 1]], pronoun="one")
        direction = self._direction_adjective()
        if self.now == "non" and self._may_name(self.peek(1)) and self.peek(1) not in lexicon.COLORS:  # "a non-dog"
            self.i += 1
            kind = self._noun()
            none = None if kind is None else Condition(kind=NounPhrase(lexicon.singular(kind)), negated=True)
            other = NounPhrase("", definite=before.definite, plural=True, quantity=before.quantity)
            return None if none is None else other.at(none)
        found = self._named(before)
        if found is None:
            return None
        if before.quantity == Quantity("all") and self.peek(1) in w.NUMBERS and self.take("but", "except"):
            found = replace(found, quantity=Quantity("", "all_but", self.number() or 1))
        if direction and before.definite:
            found = replace(found, order=w.DIRECTION_ORDER[direction])
        elif direction:
            found = found.at(Condition(side=direction))
        found = self._owned_or_of(found)
        if found is None:
            return None
        if before.order in ("nearest", "farthest") and self.now in ("to", "from"):  # "the nearest dog to the bus"
            found = self.attempt(lambda f=found: self._measured_from(f)) or found
        return self._after(found) if conditions else found

    def _determined(self, quantity: Quantity | None) -> NounPhrase | None:
        """Read what stands before a noun and its adjectives: "the", "no", "my other", "the three largest"."""
        definite = plural = negative = other = False
        owner: NounPhrase | None = None
        self.take("one of", "all of", "any of", "some of", "each of", "both of", "none of")
        while word := self.take_any(w.DETERMINERS | w.POSSESSIVES):
            if definite and word in ("every", "each", "no", "any", "some", "a", "an"):
                return None  # "the no bus"
            definite |= word in ("the", "this", "that", "these", "those", "both", "my", "your", "our")
            negative |= word == "no"
            other |= word in ("other", "another")
            plural |= word in ("these", "those", "both", "all")
            if word in w.POSSESSIVES:
                definite, owner = True, NounPhrase("", definite=True, plural=word == "their", pronoun=word)
        self.take("visible", "detectable", "countable")
        order, rank = self._order()
        number = self._number_before_a_name()
        if number is not None and not definite and quantity is None:
            quantity, number = Quantity("", "equal", number), None
        number = number if quantity is None or quantity.of is None else quantity.of
        if order is None:
            order, rank = self._order()
        return NounPhrase(
            "",
            definite=definite,
            plural=plural,
            order=order,
            rank=rank,
            owner=owner,
            negative=negative,
            quantity=quantity,
            other=other,
            number=number,
        )

    def _number_before_a_name(self) -> int | None:
        """Read "three" of "three dogs"; not "two" of "two is enough", as nothing is counted there."""
        follows = self.peek(1)
        counts = self.now not in w.NUMBERS or self._may_name(follows) or follows in w.NUMBERS | w.SUPERLATIVES.keys()
        return self.number() if counts else None

    def _named(self, before: NounPhrase) -> NounPhrase | None:
        """Read adjectives and a noun, and put them with what stood before."""
        said = self._adjectives_before()
        noun = self._noun()
        if noun is None:
            if before.order is None or not before.definite:
                return None
            noun = "one"  # "the largest"
        if (not noun and self.now == "") or (noun in ("left", "right") and not before.definite):
            return None
        order, definite, number, quantity = before.order, before.definite, before.number, before.quantity
        *adjectives, last = noun.split(" ")
        pronoun_one = "one" if last in ("one", "ones") else ""
        anything = last in ("thing", "things", "object", "objects", "item", "items") and bool(adjectives)
        if pronoun_one or anything:
            said = (*said, *(Condition(words=(word,)) for word in adjectives))
        of_several = order is None and definite and not pronoun_one and not lexicon.is_plural(noun)
        if of_several and adjectives and adjectives[0] in w.SIZE_ORDER:  # "the big dog" of several
            order, noun = w.SIZE_ORDER[adjectives[0]], " ".join((*adjectives[1:], last))
        unnamed = bool(pronoun_one) or anything or lexicon.singular(noun) in lexicon.ANYTHING
        return replace(
            before,
            noun="" if unnamed else lexicon.singular(noun),
            plural=before.plural or lexicon.is_plural(noun) or last == "ones" or (number or 1) > 1,
            order=order,
            pronoun=pronoun_one,
            number=None if number == 1 or (quantity == Quantity("some") and not definite and not order) else number,
        ).at(*said)

    def _owned_or_of(self, found: NounPhrase) -> NounPhrase | None:
        """Read "'s hat", "of the bus" behind a noun; None if nothing is owned that way."""
        if self.now == "'s" and (found.pronoun != "one" or found.conditions):
            self.i += 1
            owned = self._noun_phrase(False)
            if owned is None:
                return None
            found = replace(owned, owner=found, definite=True)
        if self.now == "of" and (not found.order or found.noun in ("piece", "item", "kind", "type")):
            found = self._of(found)
        return found

    def _adjectives_before(self) -> tuple[Condition, ...]:
        """Read "non-red", "green or red" before a noun."""
        said: list[Condition] = []
        if self.now in lexicon.COLORS and self.peek(1) in ("or", ","):
            start = self.i
            either = self.adjectives()
            if either is not None and len(either.words) > 1 and self._may_name(self.now):
                return (either,)
            self.i = start
        if self._several_colors():  # "red and blue cars": those that are red and those that are blue
            said.append(Condition(words=(self.now, self.peek(2))))
            self.i += 3
        while self.now in ("non", "not") and self.peek(1) in lexicon.COLORS:
            said.append(Condition(words=(self.peek(1),), negated=True))
            self.i += 2
        return tuple(said)

    def _several_colors(self) -> bool:
        """Whether two colours stand before a plural, each said of some; "black and white" is one look."""
        colors = {self.now, self.peek(2)}
        if self.peek(1) != "and" or not colors <= lexicon.COLORS or colors == {"black", "white"}:
            return False
        noun = Parser(self.tokens[self.i + 3 :])._noun()
        return noun is not None and lexicon.is_plural(noun)

    def _pronoun(self) -> NounPhrase | None:
        word = self.now
        if word in w.PERSONS and word != "who":
            self.i += 1
            every = Quantity("all") if word.startswith("every") else None
            return NounPhrase("person", plural=bool(every), other=self.take("else"), quantity=every)
        if word in w.NOBODY:
            self.i += 1
            return NounPhrase(w.NOBODY[word], negative=True)
        if word in ("something", "anything", "everything"):
            self.i += 1
            every = Quantity("all") if word == "everything" else None
            asked_of = every and self.i > 1 and self.tokens[self.i - 2] in w.BE  # "is everything red"
            said = None if asked_of else self.adjectives()  # "anything red"
            found = NounPhrase("", plural=bool(every), other=self.take("else"), quantity=every)
            if self.take("but", "except", "besides", "other than"):  # "anything but dogs"
                found = replace(found, without=tuple(self.things(("and", "or"), conditions=False) or ()))
            return found if said is None else found.at(said)
        follows = self.peek(1)
        if word in ("this", "that", "these", "those") and self._may_name(follows):
            return None
        if word in w.PRONOUNS and not (word == "her" and self._may_name(follows)):
            self.i += 1
            return NounPhrase("", definite=True, plural=word in ("they", "them", "these", "those"), pronoun=word)
        return None

    def _order(self) -> tuple[str | None, int]:
        """Read "second largest", "leftmost", "most central"; a bare "second" leaves the order to "from the left"."""
        start, rank = self.i, 1
        if self.now in w.ORDINALS:
            rank = w.ORDINALS[self.now]
            self.i += 1
        most = self.take("most")
        word = self.take_any(w.SUPERLATIVES)
        if word and (word != "central" or most):
            return w.SUPERLATIVES[word], rank
        if most and self.take_any(("left", "right")):
            return w.DIRECTION_ORDER[self.tokens[self.i - 1]], rank
        self.i = start
        if rank > 1 or self.now == "first":
            self.i += 1
            return "ranked", rank
        if self.now == "last" and self._may_name(self.peek(1)):
            self.i += 1
            return "last", 1
        return None, 1

    def _direction_adjective(self) -> str:
        """Read "left" in "the left car"; not in "left of"."""
        if self.now in ("left", "right", "upper", "lower", "bottom", "top", "middle") and self._may_name(self.peek(1)):
            if self.peek(1) in w.SIDE_PARTS | w.SIDES.keys():
                return ""
            self.i += 1
            return self.tokens[self.i - 1]
        return ""

    def _may_name(self, token: str) -> bool:
        """Whether a token can be part of the name of a thing."""
        return bool(token) and token[0].isalpha() and token not in w.BOUNDARY and token not in w.DETERMINERS

    def _noun(self) -> str | None:
        """Read the words that name a thing, up to the next function word or to what is said of the thing."""
        start = self.i
        while self._may_name(self.now):
            if self.now in ("left", "right") and (self.i > start or self.peek(1) == "of"):
                break
            if self.i > start and (self.now in ("please", "nobody", "any") or self._is_said_of(start)):
                break
            self.i += 1
            # Two words "and" a third that belong to one noun: "black and white cat".
            if self.now == "and" and self.tokens[self.i - 1] in lexicon.COLORS and self.peek(1) in lexicon.COLORS:
                self.i += 1
        if self.i == start or self.i - start > 6:
            self.i = start
            return None
        return " ".join(self.tokens[start : self.i])

    def _is_said_of(self, start: int) -> bool:
        """Whether the current word is said of the noun before it, and no part of it: "the man | doing", "dogs | run",
        "the cup | red"; not "the new building", "hot dogs"."""
        head, word = self.tokens[self.i - 1], self.now
        if head in lexicon.COLORS or not lexicon.is_noun(head) or lexicon.is_noun(f"{head} {word}"):
            return False
        if word in ("count", "total", "number"):
            return False
        if word in lexicon.COLORS:
            return self._ends_noun()
        if word.endswith("ing") and len(word) > 4 and not lexicon.is_thing(word):
            return True
        if (word.endswith("ed") and not lexicon.is_noun(word)) or word in w.PARTICIPLES:
            return True
        return lexicon.is_plural(head) and head not in ("sports", "glasses", "skis") and self.i > start

    def _measured_from(self, found: NounPhrase) -> NounPhrase | None:
        self.take("to", "from")
        to = self.noun_phrase(conditions=False)
        return None if to is None else replace(found, order_to=to)

    def _ends_noun(self) -> bool:
        return not self._may_name(self.peek(1))

    def _of(self, found: NounPhrase) -> NounPhrase:
        """Read "of water", "of the bus" after a noun, unless it only says "of the picture"."""
        start = self.i
        if self.scope():
            return found
        self.i += 1
        if self.now in w.DETERMINERS | w.POSSESSIVES:
            owner = self._noun_phrase(False)
            if owner is not None:
                return replace(found, owner=owner)
        else:
            what = self._noun()
            if what is not None and found.noun:
                return replace(found, noun=f"{found.noun} of {what}")
        self.i = start
        return found

    def _after(self, found: NounPhrase) -> NounPhrase:
        """Read what follows a noun: "nearest to the bus", "that is on the table", "in the picture"."""
        while True:
            start = self.i
            self.skip()
            ordered = self.attempt(lambda f=found: self._order_after(f))
            if ordered is not None:
                found = ordered
                continue
            said = self.attempt(self._clause_conditions)
            if said is None and self.now in ("and", "but") and found.conditions:
                # "left of the bus and above the car"
                said = self.attempt(self._and_conditions)
            if said is not None:
                found = found.at(*said)
                continue
            left_out = self.exclusion() if found.plural or not found.definite else None
            if left_out is not None:
                found = replace(found, without=(*found.without, *left_out))
                continue
            if self.now in w.POSTURE and self.attempt(self._posture_here):
                continue
            if (
                self.now in w.STANCE
                and self._closes(self.peek(1))
                and self.i > 0
                and self.tokens[self.i - 1] not in w.BE
            ):
                found = found.at(Condition(words=(w.POSTURE[self.now],))) if self.now in w.POSTURE else found
                self.i += 1
                continue
            if self.i == start:
                return found

    def _closes(self, token: str) -> bool:
        return token in ("", "?", ".", ",", "and", "or", "than", "are", "is", "in", "here", "there")

    def _and_conditions(self) -> tuple[Condition, ...] | None:
        self.i += 1
        return self._clause_conditions() or self.attempt(self._not_so)

    def _not_so(self) -> tuple[Condition, ...] | None:
        """Read "(that is not red and) not green"."""
        return self.predicate() if self.now == "not" else None

    def _clause_conditions(self) -> tuple[Condition, ...] | None:
        """Read "(that is) (standing) to the left of the bus", "that are not red", "who is sitting"."""
        if self.take_any(("that", "which", "who")):
            if self.take_any(w.BE):
                return self.predicate()
            self.take_any(w.AUXILIARY)
            negated = self.take("not")
            relation = self.relation()
            return None if relation is None else (replace(relation, negated=relation.negated ^ negated),)
        relation = self.relation()
        if relation is not None:
            return (relation,)
        return self.attempt(self._contact) or self.attempt(self._having_on) or self.attempt(self._in_color)

    def _contact(self) -> tuple[Condition, ...] | None:
        """Read "wearing a hat": boxes tell that they overlap, and the rest is asked as words."""
        self.take_any(w.BE)
        start = self.i
        if not self.take_any(_CONTACT):
            return None
        worn = self.tokens[self.i - 1] in ("wear", "wears", "wearing")
        what = self.noun_phrase(conditions=False)
        if what is None or what.negative:
            return None
        verb = "" if self.tokens[start].endswith("ing") else "that "
        said = Condition(words=(verb + " ".join(self.tokens[start : self.i]),))
        return (said,) if worn else (Condition("near", what), said)

    def _having_on(self) -> tuple[Condition, ...] | None:
        """Read "with people on them", "without a person in it", "that has a dog on it"."""
        negated = self.take("without")
        if not negated and not self.take("with", "having", "that has", "that have", "which has", "which have"):
            return None
        what = self.noun_phrase(conditions=False)
        if what is None:
            return None
        name = "overlaps"
        if self.take("on", "in", "inside", "on top of"):
            name = "contains" if self.tokens[self.i - 1] in ("in", "inside") else "has_on"
            if not self.take_any(("it", "them", "top")):
                return None
        elif not negated:
            return None
        return (Condition(name, replace(what, negative=False), negated=negated ^ what.negative),)

    def _in_color(self) -> tuple[Condition, ...] | None:
        """Read "in red", "of a red color", where the colour is the thing's own."""
        self.take("painted", "colored")
        if not self.take("in", "of"):
            return None
        self.take("a", "the", "color")
        said = self.adjectives()
        self.take("color")
        return None if said is None or self._may_name(self.now) else (said,)

    # ---- what is said of a thing ----

    def predicate(self) -> tuple[Condition, ...] | None:
        """Read what follows "is": "(not) red", "red or blue", "a dog", "to the left of the bus", "sitting"."""
        return self.attempt(self._predicate)

    def _predicate(self) -> tuple[Condition, ...] | None:
        while self.take_any(w.FILLER | {"all", "both", "completely", "entirely", "mostly", "colored", "painted"}):
            pass
        negated = self.take("not")
        while self.take_any(w.FILLER | {"all", "both", "any", "of"}):
            pass
        negated = negated or self.take(*_ANOTHER_COLOR)
        neither = self.take("neither")
        self.take("either")
        start = self.i
        self.take("the", "a")  # "the pink one"
        said = self.adjectives(neither)
        if said is not None and self.i > start and self.tokens[start] in ("the", "a") and not self.take("one", "ones"):
            said = None
        if said is None:
            self.i = start
        if said is not None:
            if self._may_name(self.now) and not self.take("one", "ones", "color", "things"):
                return None
            return (replace(said, negated=negated or neither),)
        relation = self.relation()
        if relation is not None:
            return (replace(relation, negated=relation.negated ^ negated),)
        contact = self.attempt(self._contact) or self.attempt(self._having_on)
        if contact is not None:
            return contact if not negated else None
        kind = self.attempt(self._kind)
        if kind is not None:
            return (Condition(kind=kind, negated=negated),)
        if self.now in w.POSTURE:
            words, self.i = w.POSTURE[self.now], self.i + 1
            return (Condition(words=(words,), negated=negated),)
        return None

    def predicates(self) -> tuple[Condition, ...] | None:
        """Read what follows "is", and what "and" or "but" adds to it: "not red and not green"."""
        said = self.predicate()
        while said is not None:
            start = self.i
            self.take(",")
            more = self.predicate() if self.take("and", "but") else None
            if more is None:
                self.i = start
                return said
            said = (*said, *more)
        return None

    def adjectives(self, neither: bool = False) -> Condition | None:
        """Read colours: "red", "red or blue"; "black and white" is one look."""
        start = self.i
        words: list[str] = []
        while True:
            color = self.take_any(lexicon.COLORS)
            if not color:
                break
            words.append(color)
            back = self.i
            self.take(",")
            if self.take("or", "nor") or (not neither and len(words) == 1 and self.take("and")):
                if self.now not in lexicon.COLORS:
                    self.i = back
                    break
                if self.tokens[self.i - 1] == "and":
                    words[-1] = f"{words[-1]} and {self.now}"
                    self.i += 1
                    break
                continue
            self.i = back
            break
        if not words:
            self.i = start
            return None
        self.take("in color", "colored")
        return Condition(words=tuple(words))

    def _kind(self) -> NounPhrase | None:
        """Read "a dog", "dogs" after "is": what the thing is."""
        definite = self.take_any(("a", "an"))
        thing = self.noun_phrase(conditions=False)
        if thing is not None and thing.definite and thing.order:  # "the biggest vehicle"
            return thing
        if thing is None or thing.definite or thing.pronoun or thing.negative or thing.quantity is not None:
            return None
        if not lexicon.may_be_seen(thing.noun) or not (definite or thing.plural):
            return None
        return thing

    def exclusion(self) -> tuple[NounPhrase, ...] | None:
        """Read "besides cats", "other than the green one", "not counting dogs and birds"."""
        return self.attempt(self._exclusion)

    def _exclusion(self) -> tuple[NounPhrase, ...] | None:
        self.take(",")
        self.take("if you", "if we", "if i", "when you", "when")
        if self.take(*_EXCEPT):
            self.take("for", "any", "all")
            start = self.i
            left_out = self.things(("and", "or", "&"), conditions=False)
            if left_out and any(thing.pronoun == "one" for thing in left_out):  # "the one on the left"
                self.i = start
                left_out = self.things(("and", "or", "&"), conditions=True)
            known = left_out and not any(thing.noun in lexicon.COLORS for thing in left_out)
            return tuple(left_out) if left_out and known else None
        left_out = self.things(("and", "or", "&"), conditions=False)
        after = left_out and self.take(
            "not included", "not counted", "excluded", "aside", "apart", "excepted", "left out"
        )
        return tuple(left_out) if after and left_out else None

    def rest(self, is_so: bool = False) -> Condition | None:
        """Read all that is left as words that are said of the thing; only where the parser is lenient.

        Args:
            is_so: whether they follow "is", so that they are no verb ("happy", not "smoke").
        """
        words = [token for token in self.tokens[self.i :] if token not in (",", ":", "please")]
        while self.i and self.tokens[self.i - 1] in w.HAVE:
            self.i -= 1
            words.insert(0, self.tokens[self.i])
        is_so |= self.i > 0 and self.tokens[self.i - 1] in w.BE
        while words and words[0] in w.BE | w.FILLER | {"there"}:
            is_so |= words[0] in w.BE
            words = words[1:]
        asks = any(a in w.WH and b in w.AUXILIARY | {"many", "much"} for a, b in pairwise(words))
        asks = asks or bool({"what", "where", "why", "how"} & set(words))
        if not self.lenient or not words or asks or len(words) > 12 or words[0] in ("or", "nor", "but", "than", "and"):
            return None
        self.i = len(self.tokens)
        negated = words[0] == "not"
        words = words[1:] if negated else words
        if not words:
            return None
        verb = not is_so and not words[0].endswith(("ing", "ed")) and words[0] not in w.PREPOSITIONS | {"that", "who"}
        return Condition(words=(" ".join((["that"] if verb else []) + words),), negated=negated)

    def _order_after(self, found: NounPhrase) -> NounPhrase | None:
        """Read "nearest to the bus", "farthest to the left", "(second) from the left" after a noun."""
        if self.take_any(("that", "which", "who")):
            self.take_any(w.BE)
        while self.take_any(w.STANCE):
            pass
        if self.take("from the left", "from left", "from the left side"):
            return replace(found, order="leftmost")
        if self.take("from the right", "from right", "from the right side"):
            return replace(found, order="rightmost")
        if self.take("from the top"):
            return replace(found, order="topmost")
        if self.take("from the bottom"):
            return replace(found, order="lowest")
        start = self.i
        if self.take_any(("on", "at", "to")) and self.take("the far", "the very", "the extreme", "far"):
            side = self.take_any(("left", "right", "top", "bottom"))
            self.take_any(w.SIDE_PARTS)
            if side and self.now != "of":
                return replace(found, order=w.DIRECTION_ORDER[side])
        self.i = start
        return self.superlative(found)

    def superlative(self, found: NounPhrase) -> NounPhrase | None:
        """Read "(the) largest", "nearest (to) the bus", "furthest (to the) left" as a predicate of `found`."""
        return self.attempt(lambda: self._superlative(found))

    def _superlative(self, found: NounPhrase) -> NounPhrase | None:
        self.take("the")
        if self.take("most", "farthest", "furthest", "farther", "further"):
            self.take("to", "on", "toward", "towards")
            self.take("the")
            side = self.take_any(w.DIRECTION_ORDER)
            if side:
                self.take_any(w.SIDE_PARTS)
                return replace(found, order=w.DIRECTION_ORDER[side])
            self.i -= 1 if self.tokens[self.i - 1] in ("the", "to", "on", "toward", "towards") else 0
            if self.tokens[self.i - 1] == "to":
                self.i -= 1
            if self.tokens[self.i - 1] not in ("farthest", "furthest"):
                return None
            self.i -= 1
        order, rank = self._order()
        if order in (None, "ranked", "last"):
            return None
        if order in ("nearest", "farthest"):
            self.take("away")
            if self.take("to the camera", "to the viewer", "to us", "to me"):
                return replace(found, order="largest" if order == "nearest" else "smallest", rank=rank)
            self.take("to", "from", "by")
            to = self.noun_phrase(conditions=False)
            if to is None:
                return None
            return replace(found, order=order, rank=rank, order_to=to)
        self.take("one", "ones")
        return replace(found, order=order, rank=rank)

    # ---- relations ----

    def _starts_relation(self) -> bool:
        start = self.i
        found = self.relation() is not None
        self.i = start
        return found

    def relation(self) -> Condition | None:
        """Read where something is: "(not) (directly) to the left of the bus", "on the right side of the picture"."""
        return self.attempt(self._relation)

    def _relation(self) -> Condition | None:
        start = self.i
        negated = self.take("not")
        posture = w.POSTURE.get(self.now, "")
        while (
            self.take_any(w.STANCE | w.APPEAR)
            or self.take("to be", "been")
            or self._emphasis()
            or self._degree()
            or (self.now in w.FILLER and self.take_any(w.FILLER))
        ):
            negated |= self.take("not")
        for read in (self._closer_to_the_edge, self._sideways, self._between, self._listed_relation):
            found = self.attempt(read)
            if found is not None:
                degree = next((word for word in self.tokens[start : self.i] if word in _DEGREES), "")
                return replace(found, negated=negated, posture=posture, degree="" if found.side else degree)
        return None

    def _degree(self) -> bool:
        """Read "slightly", "well": how much so."""
        return bool(self.take_any(_DEGREES))

    def _emphasis(self) -> bool:
        """Read "directly"; "right" only before another relation ("right next to")."""
        if self.now == "right" and self.peek(1) in w.PREPOSITIONS - {"of", "to", "from", "than"}:
            self.i += 1
            return True
        if self.now in ("over", "off", "up", "down", "out", "back", "towards", "toward") and self.peek(1) not in (
            "to",
            "on",
            "at",
            "in",
        ):
            return False
        if self.now in ("further", "farther") and self.peek(1) in ("up", "down"):
            return False
        if self.now in ("toward", "towards"):
            return False
        return bool(self.take_any(_EMPHASIS))

    def _closer_to_the_edge(self) -> Condition | None:
        """Read "closer to the left edge (of the picture) than the bus"."""
        if not self.take("closer to", "nearer to", "nearer", "more toward", "more towards", "further to", "farther to"):
            return None
        self.take("the")
        side = self.take_any(("left", "right", "top", "bottom"))
        self.take_any(w.SIDE_PARTS | {"border", "margin"})
        self.scope()
        to = self.noun_phrase(conditions=False) if side and self.take("than") else None
        return None if to is None else Condition(_SIDEWAYS[side], to)

    def _sideways(self) -> Condition | None:
        """Read a direction: of a thing ("to the left of the bus") or of the picture ("in the top half")."""
        lead = bool(
            self.take_any(
                ("to", "on", "at", "in", "toward", "towards", "by", "from", "along", "near", "within", "inside")
            )
        )
        owner = self._side_owner() if lead else None
        if owner is not None:
            side = self.take_any(_DIRECTIONS)
            self.take_any(w.SIDE_PARTS)
            return Condition(_DIRECTIONS[side], owner)
        self.take("the", "your", "my")
        far = False
        while word := self.take_any(("far", "very", "immediate", "extreme", "more", "further", "farther")):
            far |= word in ("far", "very", "extreme")
        vertical = self.take_any(("upper", "lower", "top", "bottom")) if self.peek(1) in ("left", "right") else ""
        side = self.take_any(w.SIDES)
        if not side or vertical:
            return self._corner(vertical, side) if side else None
        part = False
        while word := self.take_any(w.SIDE_PARTS):
            part, far = True, far or word in ("third", "edge")
        where = ("far " if far and w.SIDES[side] != "middle" else "") + w.SIDES[side]
        if self.scope():
            return Condition(side=where)
        if self.take("of", "from") or (not part and self.take("than")) or (side in _DIRECTIONS and self.take("to")):
            return self._side_of(side)
        if side in ("middle", "center"):
            return Condition(side="middle") if lead else None
        if self.now in ("and", "or") and self._side_of_something():
            return None  # "to the left and to the right of the bus"
        ends = not self._may_name(self.now) or (self.now in lexicon.COLORS and self._ends_noun())  # "on the left red?"
        return Condition(side=where) if (lead or part or self._at_end()) and ends else None

    def _side_owner(self) -> NounPhrase | None:
        """Read "its" before "left", "the bus's" before "left side"."""
        if self.peek(1) in _DIRECTIONS and self.now in w.POSSESSIVES:
            self.i += 1
            word = self.tokens[self.i - 1]
            return NounPhrase("", definite=True, plural=word == "their", pronoun=word)
        owner = self.attempt(self._owned_side)
        if owner is not None and self.tokens[self.i] in w.POSSESSIVES:
            self.i += 1
        return owner

    def _side_of(self, side: str) -> Condition | None:
        """Read what a side is of: "(left of) the bus", "(left of) the middle"."""
        if side not in _DIRECTIONS:
            return None  # "at the top of the bus", "in the middle of the road" are read elsewhere
        if self.take("the middle", "the center", "middle", "center"):
            self.scope()
            return Condition(side=side)
        to = self.noun_phrase()
        return None if to is None else Condition(_DIRECTIONS[side], to)

    def _side_of_something(self) -> bool:
        """Whether "and to the right of …" follows, so that the side before it is no side of the picture either."""
        ahead = self.tokens[self.i + 1 : self.i + 6]
        sides = [k for k, word in enumerate(ahead) if word in _DIRECTIONS]
        return bool(sides) and ahead[sides[0] + 1 : sides[0] + 2] == ["of"]

    def _owned_side(self) -> NounPhrase | None:
        """Read "the bus's" in "to the bus's left"."""
        self.take_any(w.DETERMINERS)
        noun = self._noun()
        if noun is None or not self.take("'s") or self.now not in _DIRECTIONS:
            return None
        return NounPhrase(lexicon.singular(noun), definite=True)

    def _corner(self, vertical: str, side: str) -> Condition | None:
        corner = self.take("corner")
        self.take_any(w.SIDE_PARTS)
        if self.take("of") and not (self.take("the", "this") and self.take_any(w.PICTURE)):
            return None
        return Condition(side=f"{'far ' if corner else ''}{w.SIDES[vertical]} {side}")

    def _at_end(self) -> bool:
        return self.now in ("", "?", ".", ",", "and", "or", ";")

    def _between(self) -> Condition | None:
        if not self.take("between", "among"):
            return None
        first = self.noun_phrase(conditions=False)
        if first is None:
            return None
        if not self.take("and"):
            return Condition("between", first, first) if first.plural else None
        second = self.noun_phrase(conditions=False)
        if second is not None and second.definite and not second.plural:  # "the bus and the person on the right"
            side = self.attempt(self._sideways)
            second = second if side is None else second.at(side)
        return None if second is None else Condition("between", first, second)

    def _listed_relation(self) -> Condition | None:
        if self.now not in _RELATION_STARTS:
            return None
        for parts, name in _RELATION_TOKENS:
            if tuple(self.tokens[self.i : self.i + len(parts)]) == parts:
                start = self.i
                self.i += len(parts)
                # "The person with the handbag left of the bus": it is the person who is there.
                to = self.noun_phrase(conditions=parts != ("with",))
                if to is not None and not to.negative and to.noun not in w.PICTURE:
                    whole = to.definite and not to.conditions and _is_place(to.noun)
                    return Condition(name, replace(to, place=whole))
                self.i = start
        return None

    # ---- clauses: lists of things, and the words around them ----

    def at_end(self) -> bool:
        """Whether nothing is left but words that say nothing."""
        while self.now in (",", ":") or self.now in w.FILLER:
            self.i += 1
        self.skip()
        return not self.now

    def things(
        self, joiners: tuple[str, ...] = ("and", "or", "plus", "&"), conditions: bool = True
    ) -> list[NounPhrase] | None:
        """Read "dogs", "dogs and cats", "dogs, cats and birds"."""
        first = self.noun_phrase(conditions)
        if first is None:
            return None
        found = [first]
        while True:
            start = self.i
            comma = self.take(",")
            joined = bool(self.take_any(joiners))
            self.take("the number of", "the count of", "of")
            following = self.noun_phrase(conditions) if comma or joined else None
            if following is None:
                self.i = start
                break
            if found[0].negative and self.tokens[start : start + 1] == ["or"]:
                following = replace(following, negative=True)  # "no trucks or motorcycles"
            found.append(following)
        last = found[-1]
        shared = tuple(condition for condition in last.conditions if condition.name or condition.side)
        found = [_sharing_the_noun(one, last) for one in found[:-1]] + [last]
        if len(found) > 1 and shared and not any(thing.conditions for thing in found[:-1]):
            found = [*(thing.at(*shared) for thing in found[:-1]), last]
        return found

    def bag(self, things: list[NounPhrase]) -> list[NounPhrase] | None:
        """Read what follows the things that are counted or looked for, gathering where they are.

        "(are there) (in the picture)", "does the photo show", "can you see to the left of the bus".
        """
        while self.now:
            start = self.i
            self.skip()
            self.take(",", ":")
            said = self._tuple(self._had_by) or self.attempt(self._clause_conditions)
            if said is None and self.take(
                "and tell me the total", "and give me the total", "get", "both", "all", "make"
            ):
                continue
            if said is None and self.take("and", "but"):
                said = self.attempt(self._clause_conditions)
                if said is None and (self.now in w.BE or self.tokens[self.i - 1] == "but"):
                    return None  # "… and is the leftmost one …" is a question of its own
            said = said or self._tuple(self._having) or self.attempt(self._held_by)
            said = said or self.attempt(self._said_after_be)
            if said is not None:
                if not things:
                    return None  # nobody is there for it to be said of
                things = [thing.at(*said) for thing in things]
                continue
            left_out = self.exclusion()
            if left_out is not None:
                things = [replace(thing, without=(*thing.without, *left_out)) for thing in things]
                continue
            meant = self.attempt(self._meaning)
            if meant is not None:
                things = [_with_antecedent(thing, things) for thing in meant]
            elif not self._says_nothing() and self.i == start:
                rest = self.rest()
                return None if rest is None or not things else [thing.at(rest) for thing in things]
        return things

    def _says_nothing(self) -> bool:
        """Read words that say nothing of the things: "does the photo show", "there", "standing in the picture"."""
        if self.take("it look like", "it seem like", "it seem", "it appear", "it look as if", *_EMPTY_PHRASES):
            return True
        if self.attempt(self._picture_subject) or self.take_any(
            w.AUXILIARY | w.PEOPLE_PRONOUNS | w.SEE | w.SHOW | w.SHOWN | w.APPEAR | w.PLACED | w.TOTALS | {"there"}
        ):
            return True
        if self.now in w.POSTURE and self.attempt(self._posture_here):
            return True
        return self.take("that", "which", "who", "out", "up")

    def _posture_here(self) -> bool | None:
        """Read "(cars) stand in the picture"."""
        self.i += 1
        return self.scope() or self.take("there", "here") or None

    def _held_by(self) -> tuple[Condition, ...] | None:
        """Read "(how many phones) is the person holding": what boxes tell of it, and the rest as words."""
        start = self.i
        if not self.take_any(w.BE | w.DO) and not (self.i and self.tokens[self.i - 1] in w.BE | w.DO):
            return None
        owner = self.noun_phrase(conditions=False)
        if owner is None or not self.take_any(_CONTACT):
            return None
        told = " ".join(word for word in self.tokens[start : self.i] if word not in w.BE | w.DO)
        return (Condition("near", owner), Condition(words=(f"that {told}",)))

    def _tuple(self, read: Callable[[], Condition | None]) -> tuple[Condition, ...] | None:
        found = self.attempt(read)
        return None if found is None else (found,)

    def _said_after_be(self) -> tuple[Condition, ...] | None:
        """Read "(are) not red", "(are there that are) sitting"."""
        self.take("that", "which", "who")
        if not self.take_any(w.BE) and not (self.i and self.tokens[self.i - 1] in w.BE):
            return None
        if self.now in w.POSTURE and Parser(self.tokens[self.i + 1 :]).scope():
            return None  # "(are) parked in the picture"
        return self.predicate()

    def _meaning(self) -> list[NounPhrase] | None:
        """Read what was meant by the thing: "(screens,) meaning laptops and tvs"."""
        comma = self.take(",") or self.tokens[self.i - 1 : self.i] == [","]
        if not self.take(*_MEANING):
            things = self.things(("and", "plus", "&"), conditions=False) if comma else None
            return things if things and self.take("together", "combined", "in all", "in total") else None
        self.take(",")
        return self.things(("and", "or", "plus", "&"))

    def _had_by(self) -> Condition | None:
        """ "(how many people) does the bus have on its left"."""
        if not self.take_any(w.DO):
            return None
        owner = self.noun_phrase(conditions=False)
        if owner is None or not self.take_any(w.HAVE):
            return None
        relation = self.relation()
        if relation is None or relation.to is None or not relation.to.pronoun:
            return None
        return replace(relation, to=owner)

    def _having(self) -> Condition | None:
        """ "(people who) have the bus on their right" are to the left of it."""
        if not self.take_any(w.HAVE):
            return None
        what = self.noun_phrase(conditions=False)
        relation = self.relation() if what is not None else None
        if relation is None or relation.to is None or relation.to.pronoun not in w.POSSESSIVES:
            return None
        return replace(relation, name=_OPPOSITES[relation.name], to=what) if relation.name in _OPPOSITES else None

    def _picture_subject(self) -> bool | None:
        self.take_any(w.DETERMINERS)
        return bool(self.take_any(w.PICTURE)) or None

    def _total(self) -> bool:
        return bool(w.TOTALS & set(self.tokens)) or " in all" in " ".join(self.tokens)

    def _opening(self) -> bool:
        """Read "are there", "do you see", "does the picture show", "there are": what claims begin with."""
        return any(self.attempt(form) for form in (self._there_are, self._it_shows, self._the_picture_shows))

    def _there_are(self) -> bool | None:
        """ "are there", "there are", "could there be", "do you see", "we can see"."""
        forms = (
            lambda: self.take_any(w.BE) and self.take("there"),
            lambda: self.take("there") and self.take_any(w.BE),
            lambda: self.take_any(w.MODAL) and self.take("there be"),
            lambda: self.take_any(w.DO | w.MODAL | w.HAVE) and self._you_see(),
            lambda: self.take_any(w.PEOPLE_PRONOUNS) and self._can() and self.take_any(w.SEE),
        )
        return self._any_of(forms)

    def _it_shows(self) -> bool | None:
        """ "does it show", "does anything look like", "is this a picture of"."""
        forms = (
            lambda: self.take_any(w.DO) and self.take("it", "this") and self.take_any(w.SHOW),
            lambda: self.take_any(w.DO) and self.take("anything", "something") and self._looks_like(),
            lambda: (
                self.take("is this", "is it")
                and self.take_any(("a", "an", "the"))
                and self.take_any(w.PICTURE)
                and self.take("of")
            ),
        )
        return self._any_of(forms)

    def _looks_like(self) -> bool:
        self.skip()
        return self.take("look like", "resemble")

    def _the_picture_shows(self) -> bool | None:
        """ "does the picture show", "does not the picture show", "is the picture of", "the picture shows"."""
        forms = (
            lambda: self.take_any(w.DO | w.BE) and self.take("not") and self._picture() and self.take_any(w.SHOW),
            lambda: (
                self.take_any(w.DO | w.HAVE | w.BE) and self._picture() and (self.take_any(w.SHOW) or self.take("of"))
            ),
            lambda: self._picture() and self.take_any(w.SHOW),
        )
        return self._any_of(forms)

    def _picture(self) -> bool:
        self.take_any(w.DETERMINERS)
        return bool(self.take_any(w.PICTURE))

    def _any_of(self, forms: Iterable[Callable[[], Any]]) -> bool | None:
        """Whether one of the forms is read, the first that fits; None if none does."""
        return True if any(self.attempt(lambda form=form: form() or None) for form in forms) else None

    def _can(self) -> bool:
        self.take_any(w.MODAL | w.DO)
        self.take("not")
        return True

    def _you_see(self) -> bool:
        self.take("not")
        seen = w.SEE | w.HAVE | {"found", "spotted", "seen", "noticed"}
        people = w.PEOPLE_PRONOUNS | w.PERSONS
        return bool(self.take_any(people) and self.take_any(seen)) and (self.take("out") or True)

    def _aside(self) -> None:
        """Pass over ", in the picture,"."""
        self.take(",")
        self.skip()
        self.take(",")

    def _empty_rest(self) -> bool:
        while self.now and (self.take_any(w.SHOWN | w.APPEAR | w.STANCE | {"be", "there"}) or self.scope()):
            pass
        return self.at_end()


def _is_place(noun: str) -> bool:
    """Whether the whole picture may have been taken there: "kitchen", "living room"; not "dog house"."""
    *before, last = noun.split(" ")
    return last in w.PLACES and not any(lexicon.is_a(word, "animal") for word in before)


def _sharing_the_noun(thing: NounPhrase, last: NounPhrase) -> NounPhrase:
    """ "The leftmost (or the rightmost person)", "the red (and the blue one)": what the last names, each of them is."""
    if last.noun and last.order and thing.order and thing.pronoun:
        return replace(thing, noun=last.noun, pronoun="")
    if thing.noun not in lexicon.COLORS:
        return thing
    if last.pronoun == "one":
        return replace(thing, noun="", pronoun="one").at(Condition(words=(thing.noun,)))
    color, _, noun = last.noun.partition(" ")
    return replace(thing, noun=f"{thing.noun} {noun}") if color in lexicon.COLORS and noun else thing


def _with_antecedent(thing: NounPhrase, before: list[NounPhrase]) -> NounPhrase:
    """ "(someone with the dog,) I mean a person near it": "it" is the dog."""
    spoken_of = [condition.to for one in before for condition in one.conditions if condition.to is not None]
    told = tuple(
        replace(condition, to=spoken_of[-1])
        if spoken_of and condition.to and condition.to.pronoun == "it"
        else condition
        for condition in thing.conditions
    )
    return replace(thing, conditions=told)
