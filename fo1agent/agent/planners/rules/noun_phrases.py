"""Parses noun phrases and where-relations: "the second red car from the left", "on the left half of the picture".

A recursive-descent parser with backtracking: each method reads from the current position, and either moves it and
returns what it read, or leaves it where it was and returns None (or False).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from fo1agent import lexicon
from fo1agent.agent.planners.rules import words as w
from fo1agent.agent.planners.rules.syntax import NounPhrase, Relation

T = TypeVar("T")

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
    ("besides", "next_to"),
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
    ("wearing", "overlaps"),
    ("holding", "overlaps"),
    ("carrying", "overlaps"),
    ("using", "overlaps"),
    ("with", "overlaps"),
    ("onto", "on"),
    ("on", "on"),
    ("in", "inside"),
)
_RELATION_TOKENS = tuple((tuple(phrase.split()), name) for phrase, name in _RELATIONS)

_DIRECTIONS = {"left": "left_of", "right": "right_of"}
_SIDEWAYS = {**_DIRECTIONS, "top": "above", "bottom": "below"}
_EMPHASIS = w.words(
    "directly immediately slightly somewhere just physically positioned located situated placed further farther more "
    "much way far well off over towards toward up down out back"
)


class PhraseParser:
    """Reads noun phrases and relations from tokens. `i` is the position; `nouns` collects what was named."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
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
        for option in options:
            parts = option.split()
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

    # ---- words that say nothing about what is wanted ----

    def skip(self) -> None:
        """Pass over fillers and over phrases that only say "in this picture"."""
        while self.take_any(w.FILLER) or self.scope():
            pass

    def scope(self) -> bool:
        """Read "in the picture", "of this photo", "here", "that you can see", "that are visible"."""
        start = self.i
        if self.take("here", "in view", "in sight", "in shot", "in total", "in all", "at all", "all in all", "in sum"):
            return True
        if self.take("for me", "for us", "to me", "to us"):
            return True
        if w.PICTURE & set(self.tokens[: self.i]) and self.take("in it", "on it", "inside it"):
            return True  # "does the picture have a dog in it"
        if self.take("right now", "at the moment", "at present", "in the background", "in the foreground"):
            return True
        if self.take_any(("in", "on", "within", "inside", "from", "of", "across", "throughout", "at", "into", "for")):
            self.take_any(w.DETERMINERS)
            while self.take_any(
                ("given", "above", "entire", "whole", "attached", "uploaded", "provided", "same", "full")
            ):
                pass
            if self.take_any(w.PICTURE):
                return True
        self.i = start
        if self.take_any(("that", "which", "who")) or self.now in w.PEOPLE_PRONOUNS | w.MODAL:
            self.take_any(w.MODAL)
            if self.take_any(w.PEOPLE_PRONOUNS):
                self.take_any(w.MODAL)
                if self.take_any(w.SEE):
                    self.take("out")
                    return True
            self.i = start
            self.take_any(("that", "which", "who"))
            if self.take_any(w.MODAL | w.BE):
                self.take("be")
                if self.take_any(w.SHOWN) and not self._starts_relation():
                    return True
        self.i = start
        return False

    # ---- noun phrases ----

    def noun_phrase(self, relations: bool = True) -> NounPhrase | None:
        """Read a noun phrase, with the relations that follow it unless they are not wanted."""
        return self.attempt(lambda: self._noun_phrase(relations))

    def _noun_phrase(self, relations: bool) -> NounPhrase | None:
        while self.take_any(w.FILLER):
            pass
        pronoun = self._pronoun()
        if pronoun is not None:
            return self._after(pronoun) if relations else pronoun
        definite = plural = negative = False
        owner: NounPhrase | None = None
        self.take("different", "distinct", "individual", "separate")
        self.take("one of", "all of", "any of", "some of", "each of", "both of", "none of")
        while word := self.take_any(w.DETERMINERS | w.POSSESSIVES):
            definite |= word in ("the", "this", "that", "these", "those", "both", "my", "your", "our")
            negative |= word == "no"
            plural |= word in ("these", "those", "both", "all")
            if word in w.POSSESSIVES:
                definite, owner = True, NounPhrase("", definite=True, plural=word == "their", pronoun=word)
        self.take("visible", "detectable", "countable")
        order, rank = self._order()
        number = self.take_any(w.NUMBERS) if self.peek(1) not in ("", "?", ",") else ""
        if self.now.isdigit():
            number, self.i = self.now, self.i + 1
        if order is None:
            order, rank = self._order()
        direction = self._direction_adjective()
        noun = self._noun()
        if noun is None:
            if order is None or not definite:
                return None
            noun = "one"  # "the largest"
        if not noun and self.now == "":
            return None
        found = NounPhrase(
            noun=""
            if noun in ("one", "ones") or lexicon.singular(noun) in lexicon.ANYTHING
            else lexicon.singular(noun),
            definite=definite,
            plural=plural or lexicon.is_plural(noun) or (bool(number) and number != "one"),
            order=order,
            rank=rank,
            pronoun="one" if noun in ("one", "ones") else "",
            owner=owner,
            negative=negative,
        )
        if direction:
            found = (
                replace(found, order=w.DIRECTION_ORDER[direction]) if definite else found.at(Relation(side=direction))
            )
        if self.now == "'s" and noun not in ("one", "ones"):
            self.i += 1
            owned = self._noun_phrase(False)
            if owned is None:
                return None
            found = replace(owned, owner=found, definite=True)
        if self.now == "of" and not found.order:
            found = self._of(found)
        if order in ("nearest", "farthest") and self.now in ("to", "from"):  # "the nearest dog to the bus"
            found = self.attempt(lambda f=found: self._measured_from(f)) or found
        return self._after(found) if relations else found

    def _pronoun(self) -> NounPhrase | None:
        word = self.now
        if word in w.PERSONS and word != "who":
            self.i += 1
            return NounPhrase("person")
        if word in w.NOBODY:
            self.i += 1
            return NounPhrase(w.NOBODY[word], negative=True)
        if word in ("something", "anything", "everything"):
            self.i += 1
            self.take("else")
            return NounPhrase("", plural=word == "everything")
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
        """Read the words that name a thing, up to the next function word."""
        start = self.i
        while self._may_name(self.now):
            if self.now in ("left", "right") and (self.i > start or self.peek(1) == "of"):
                break
            if self.i > start and self.now in ("please", "nobody", "any"):
                break
            if self.i > start and self.now.endswith("ing") and self._ends_noun() and not lexicon.is_thing(self.now):
                break  # "the man doing"; not "the new building"
            self.i += 1
            # Two words "and" a third that belong to one noun: "black and white cat".
            if self.now == "and" and self.tokens[self.i - 1] in lexicon.COLORS and self.peek(1) in lexicon.COLORS:
                self.i += 1
        if self.i == start or self.i - start > 6:
            self.i = start
            return None
        return " ".join(self.tokens[start : self.i])

    def _measured_from(self, found: NounPhrase) -> NounPhrase | None:
        self.take("to", "from")
        to = self.noun_phrase(relations=False)
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
            relation = self.attempt(self._clause_relation)
            if relation is None and self.now in ("and", "but") and found.relations:
                # "left of the bus and above the car"
                relation = self.attempt(self._and_relation)
            if relation is not None:
                found = found.at(relation)
                continue
            if self.now in w.STANCE and self._closes(self.peek(1)):
                self.i += 1
                continue
            if self.i == start:
                return found

    def _closes(self, token: str) -> bool:
        return token in ("", "?", ".", ",", "and", "or", "than", "are", "is", "in", "here", "there")

    def _and_relation(self) -> Relation | None:
        self.i += 1
        return self._clause_relation()

    def _clause_relation(self) -> Relation | None:
        """Read "(that is) (standing) to the left of the bus"."""
        if self.take_any(("that", "which", "who")):
            self.take_any(w.AUXILIARY)
        return self.relation()

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
            to = self.noun_phrase(relations=False)
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

    def relation(self) -> Relation | None:
        """Read where something is: "(not) (directly) to the left of the bus", "on the right side of the picture"."""
        return self.attempt(self._relation)

    def _relation(self) -> Relation | None:
        negated = self.take("not")
        while (
            self.take_any(w.STANCE | w.APPEAR)
            or self.take("to be", "been")
            or self._emphasis()
            or (self.now in w.FILLER and self.take_any(w.FILLER))
        ):
            negated |= self.take("not")
        for read in (self._closer_to_the_edge, self._sideways, self._between, self._listed_relation):
            found = self.attempt(read)
            if found is not None:
                return replace(found, negated=negated)
        return None

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

    def _closer_to_the_edge(self) -> Relation | None:
        """Read "closer to the left edge (of the picture) than the bus"."""
        if not self.take("closer to", "nearer to", "nearer", "more toward", "more towards", "further to", "farther to"):
            return None
        self.take("the")
        side = self.take_any(("left", "right", "top", "bottom"))
        self.take_any(w.SIDE_PARTS | {"border", "margin"})
        self.scope()
        to = self.noun_phrase(relations=False) if side and self.take("than") else None
        return None if to is None else Relation(_SIDEWAYS[side], to)

    def _sideways(self) -> Relation | None:
        """Read a direction: of a thing ("to the left of the bus") or of the picture ("in the top half")."""
        lead = bool(
            self.take_any(
                ("to", "on", "at", "in", "toward", "towards", "by", "from", "along", "near", "within", "inside")
            )
        )
        owner: NounPhrase | None = None
        if lead and self.peek(1) in _DIRECTIONS and self.now in w.POSSESSIVES:
            owner = NounPhrase("", definite=True, plural=self.now == "their", pronoun=self.now)
        elif lead:
            owner = self.attempt(self._owned_side)
        if owner is not None and self.tokens[self.i] in w.POSSESSIVES:
            self.i += 1
        if owner is not None:
            side = self.take_any(_DIRECTIONS)
            self.take_any(w.SIDE_PARTS)
            return Relation(_DIRECTIONS[side], owner)
        self.take("the", "your", "my")
        while self.take_any(("far", "very", "immediate", "extreme", "more", "further", "farther")):
            pass
        vertical = self.take_any(("upper", "lower", "top", "bottom")) if self.peek(1) in ("left", "right") else ""
        side = self.take_any(w.SIDES)
        if not side:
            return None
        if vertical:
            return self._corner(vertical, side)
        part = bool(self.take_any(w.SIDE_PARTS))
        while self.take_any(w.SIDE_PARTS):
            pass
        if self.scope():
            return Relation(side=w.SIDES[side])
        if self.take("of", "from", "than") or (side in _DIRECTIONS and self.take("to")):
            if side not in _DIRECTIONS:
                return None  # "at the top of the bus", "in the middle of the road" are read elsewhere
            to = self.noun_phrase()
            return None if to is None else Relation(_DIRECTIONS[side], to)
        if side in ("middle", "center"):
            return Relation(side="middle") if lead else None
        if (lead or part or self._at_end()) and not self._may_name(self.now):
            return Relation(side=w.SIDES[side])
        return None

    def _owned_side(self) -> NounPhrase | None:
        """Read "the bus's" in "to the bus's left"."""
        self.take_any(w.DETERMINERS)
        noun = self._noun()
        if noun is None or not self.take("'s") or self.now not in _DIRECTIONS:
            return None
        return NounPhrase(lexicon.singular(noun), definite=True)

    def _corner(self, vertical: str, side: str) -> Relation | None:
        self.take_any(w.SIDE_PARTS)
        if self.take("of") and not (self.take("the", "this") and self.take_any(w.PICTURE)):
            return None
        return Relation(side=f"{w.SIDES[vertical]} {side}")

    def _at_end(self) -> bool:
        return self.now in ("", "?", ".", ",", "and", "or", ";")

    def _between(self) -> Relation | None:
        if not self.take("between", "among"):
            return None
        first = self.noun_phrase(relations=False)
        if first is None:
            return None
        if not self.take("and"):
            return Relation("between", first, first) if first.plural else None
        second = self.noun_phrase(relations=False)
        return None if second is None else Relation("between", first, second)

    def _listed_relation(self) -> Relation | None:
        for parts, name in _RELATION_TOKENS:
            if tuple(self.tokens[self.i : self.i + len(parts)]) == parts:
                start = self.i
                self.i += len(parts)
                to = self.noun_phrase()
                if to is not None and not to.negative and to.noun not in w.PICTURE:
                    return Relation(name, to)
                self.i = start
        return None
