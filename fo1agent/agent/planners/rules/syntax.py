"""What a parsed question is made of: noun phrases with their relations, and one clause type per kind of question."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """ "the second red car from the left that is next to the bus".

    Attributes:
        noun: what it names, in the singular ("red car"); "" for anything at all.
        definite: it says "the", "this", "its": the thing is taken for granted.
        plural: it speaks of several.
        order: how one is chosen ("leftmost"), with `rank`, and `order_to` for nearest and farthest.
        relations: where it is.
        pronoun: "it", "they", "one"; `noun` is then "" and stands for an earlier noun phrase.
        owner: whose it is: "its sign", "the sign of the bus".
        negative: "no dogs", "nothing".
    """

    noun: str
    definite: bool = False
    plural: bool = False
    order: str | None = None
    rank: int = 1
    order_to: NounPhrase | None = None
    relations: tuple[Relation, ...] = ()
    pronoun: str = ""
    owner: NounPhrase | None = None
    negative: bool = False

    def at(self, *relations: Relation) -> NounPhrase:
        """The same thing with further relations."""
        return replace(self, relations=self.relations + relations)


@dataclass(frozen=True, slots=True)
class Relation:
    """ "to the left of the bus", "between the bus and the car", or, with a `side`, "on the left"."""

    name: str = ""
    to: NounPhrase | None = None
    and_to: NounPhrase | None = None
    side: str = ""
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
class IsAt:
    """Does the relation hold of the thing?"""

    thing: NounPhrase
    relations: tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class WhichSide:
    """Which of several relations or sides holds."""

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
    """The text on a thing, in a relation to it, or in the picture."""

    thing: NounPhrase | None = None
    relation: str = ""
    bearer: str = ""


@dataclass(frozen=True, slots=True)
class WhatIs:
    """What the things are called."""

    thing: NounPhrase


@dataclass(frozen=True, slots=True)
class WhereIs:
    """Where the thing is in the picture."""

    thing: NounPhrase


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
    | IsAt
    | WhichSide
    | IsLarger
    | WhichLarger
    | ReadText
    | WhatIs
    | WhereIs
    | DescribeIt
    | AskAbout
)
