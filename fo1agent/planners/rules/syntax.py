"""What a parsed question is made of: noun phrases with their conditions, and one clause type per kind of question."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Quantity:
    """How many of them: a share ("all", "most"), or a number with its comparison ("at least two").

    Attributes:
        share: `all`, `not_all`, `most`, `half`, `at_least_half`, `none`, `some`; "" for a number.
        comparison: `equal`, `more`, `fewer`, `at_least`, `at_most`, `all_but`; "" for a share.
        number: the number compared with.
        of: of how many it speaks: "two of the three".
    """

    share: str = ""
    comparison: str = ""
    number: int = 0
    of: int | None = None


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """ "the second red car from the left that is next to the bus".

    Attributes:
        noun: what it names, in the singular ("red car"); "" for anything at all.
        definite: it says "the", "this", "its": the thing is taken for granted.
        plural: it speaks of several.
        order: how one is chosen ("leftmost"), with `rank`, and `order_to` for nearest and farthest.
        conditions: where it is and what it is like.
        pronoun: "it", "they", "one"; `noun` is then "" and stands for an earlier noun phrase.
        owner: whose it is: "its sign", "the sign of the bus".
        negative: "no dogs", "nothing".
        quantity: "all dogs", "at least two dogs".
        without: what is left out: "animals besides cats".
        other: "another dog", "someone else": not the one that was spoken of.
        number: how many there are of them, it says: "the two dogs", "both dogs".
        place: "the kitchen": where the whole picture may have been taken.
    """

    noun: str
    definite: bool = False
    plural: bool = False
    order: str | None = None
    rank: int = 1
    order_to: NounPhrase | None = None
    conditions: tuple[Condition, ...] = ()
    pronoun: str = ""
    owner: NounPhrase | None = None
    negative: bool = False
    quantity: Quantity | None = None
    without: tuple[NounPhrase, ...] = ()
    other: bool = False
    number: int | None = None
    place: bool = False

    def at(self, *conditions: Condition) -> NounPhrase:
        """The same thing with further conditions."""
        return replace(self, conditions=self.conditions + conditions)


@dataclass(frozen=True, slots=True)
class Condition:
    """What is said of a thing: one of a relation, a side of the picture, words, or a kind.

    Attributes:
        name: "left_of", `to` something, or "between" `to` and `and_to`.
        side: "left", "top right", "far left": where in the picture.
        degree: how much so, which boxes do not tell: "slightly (to the left of it)".
        words: any of these holds: ("red", "blue"), ("sitting",), ("lie at anchor",).
        kind: what it is: "(animals that are) dogs".
        posture: how it is there: "sitting (on the bench)"; "" where nothing of the kind is said.
        negated: it is not so.
    """

    name: str = ""
    to: NounPhrase | None = None
    and_to: NounPhrase | None = None
    side: str = ""
    words: tuple[str, ...] = ()
    kind: NounPhrase | None = None
    posture: str = ""
    degree: str = ""
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HowMany:
    """Count one thing; several are summed, or counted `each`."""

    things: tuple[NounPhrase, ...]
    each: bool = False


@dataclass(frozen=True, slots=True)
class HowManyMore:
    """The difference of two counts; `absolute` when the question does not say which is the larger."""

    more: NounPhrase
    than: NounPhrase
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class IsThere:
    """Existence of all (or any) of the things; with a comparison, of so many."""

    things: tuple[NounPhrase, ...]
    any_will_do: bool = False
    comparison: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class AreMore:
    """Compare two counts."""

    left: tuple[NounPhrase, ...]
    comparison: str
    right: tuple[NounPhrase, ...]


@dataclass(frozen=True, slots=True)
class WhichMore:
    """Of which there is most or fewest."""

    things: tuple[NounPhrase, ...]
    direction: str = "most"


@dataclass(frozen=True, slots=True)
class HowManyKinds:
    """How many different names there are among the things."""

    thing: NounPhrase


@dataclass(frozen=True, slots=True)
class WhichKind:
    """The name that most or fewest of the things have, or that exactly so many have."""

    thing: NounPhrase
    direction: str = "most"
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Reckon:
    """A number made of a count and given numbers.

    Attributes:
        things: what is counted.
        operation: `sum`, `difference` or `product`, with `number`; `shortfall` for how many are missing to `number`.
        number: the given number.
        per: what is counted to get the given number: "(two) for each of them".
    """

    things: tuple[NounPhrase, ...]
    operation: str
    number: int = 1
    per: NounPhrase | None = None


@dataclass(frozen=True, slots=True)
class IsEnough:
    """Whether there are (comparison) `times` as many of one thing as of another, or as a given number; with `kinds`, so
    many different names."""

    things: tuple[NounPhrase, ...]
    comparison: str
    other: NounPhrase | int
    times: int = 1
    more: int = 0
    kinds: bool = False


@dataclass(frozen=True, slots=True)
class AllSo:
    """Whether all that is said is so: "the bench is green and the boat is brown"."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class SameColor:
    """Whether the things have one colour."""

    things: tuple[NounPhrase, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """Counts added up, and others taken off."""

    plus: tuple[NounPhrase, ...]
    minus: tuple[NounPhrase, ...]


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was said before, or by the way: it is not asked, but "it" and "they" may go back to it."""

    clause: Clause


@dataclass(frozen=True, slots=True)
class Unused:
    """A sentence that the question does not hang on, and that was not understood."""

    words: str


@dataclass(frozen=True, slots=True)
class WhichOf:
    """Which of several things is so: names, with the thing or the condition of `thing` that each stands for."""

    options: tuple[tuple[str, NounPhrase | Condition | IsLarger], ...]
    thing: NounPhrase | None = None


@dataclass(frozen=True, slots=True)
class IsAt:
    """Do the conditions hold of the thing?"""

    thing: NounPhrase
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class WhichSide:
    """Which of several conditions or sides holds."""

    thing: NounPhrase
    options: tuple[str, ...]
    to: NounPhrase | None = None


@dataclass(frozen=True, slots=True)
class IsLarger:
    """Compare two sizes, or two distances to the same thing."""

    left: NounPhrase
    quantity: str
    comparison: str
    right: NounPhrase
    to: NounPhrase | None = None


@dataclass(frozen=True, slots=True)
class WhichLarger:
    """Which of the things measures most or least."""

    things: tuple[NounPhrase, ...]
    quantity: str
    comparison: str
    to: NounPhrase | None = None


@dataclass(frozen=True, slots=True)
class ReadText:
    """The text on a thing, in a relation to it, or in the picture: on a side of it ("left", "far top left")."""

    thing: NounPhrase | None = None
    relation: str = ""
    bearer: str = ""
    side: str = ""


@dataclass(frozen=True, slots=True)
class Says:
    """Whether these words are in the text that is read."""

    read: ReadText
    words: str


@dataclass(frozen=True, slots=True)
class WhatIs:
    """What the things are called."""

    thing: NounPhrase


@dataclass(frozen=True, slots=True)
class WhereIs:
    """Where the thing is in the picture."""

    thing: NounPhrase


@dataclass(frozen=True, slots=True)
class SegmentIt:
    """Which pixels are the thing's."""

    thing: NounPhrase


@dataclass(frozen=True, slots=True)
class PointAt:
    """Where to click to hit the thing."""

    thing: NounPhrase


@dataclass(frozen=True, slots=True)
class CornersOf:
    """The corners of the thing's box."""

    thing: NounPhrase


@dataclass(frozen=True, slots=True)
class Fills:
    """How much of the picture the things fill together, in percent; with a comparison, whether it is so much."""

    thing: NounPhrase
    comparison: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Percentage:
    """Of how many of a hundred of the things something is so."""

    thing: NounPhrase
    said: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """How wide or high the thing is in the picture, or how far from another."""

    thing: NounPhrase
    quantity: str
    to: NounPhrase | None = None


@dataclass(frozen=True, slots=True)
class IsText:
    """Whether there is any text to be read."""

    read: ReadText


@dataclass(frozen=True, slots=True)
class DescribeIt:
    """A caption of the thing or of the picture."""

    thing: NounPhrase | None = None


@dataclass(frozen=True, slots=True)
class AskAbout:
    """A question about a thing that only the model itself can answer."""

    thing: NounPhrase
    question: str


Clause = (
    HowMany
    | HowManyMore
    | IsThere
    | AreMore
    | WhichMore
    | HowManyKinds
    | WhichKind
    | Reckon
    | IsEnough
    | WhichOf
    | AllSo
    | SameColor
    | Total
    | Spoken
    | Unused
    | IsAt
    | WhichSide
    | IsLarger
    | WhichLarger
    | ReadText
    | Says
    | WhatIs
    | WhereIs
    | SegmentIt
    | PointAt
    | CornersOf
    | Fills
    | Percentage
    | Measured
    | IsText
    | DescribeIt
    | AskAbout
)
