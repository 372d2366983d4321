"""What nouns mean: singular and plural, synonyms, kinds, and which names of a model's vocabulary a phrase stands for.

The knowledge is WordNet's noun data (`data/lexicon/nouns.npz`, made by scripts/build_lexicon.py), read on first use.
It knows words, not pictures: "table" resolving to "dining table" is about what a person is likely to mean when a
model has no better name. It reads English only.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

import numpy as np


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a phrase means in a vocabulary.

    Attributes:
        names: the vocabulary's names it stands for; empty when the vocabulary has no word for it.
        exact: the phrase is that one name, or a synonym of it; False for a general word ("vehicle") and for a guess
            from the last word of a name ("table" for "dining table").
        modifiers: the words of the phrase that are not part of the name: ("red",) in "red car".
        near: with no names, the more general names that the phrase is a kind of: ("bird",) for "ostrich".
        special: the noun, where the names say less than it does: "woman" for the name "person".
        wide: the noun, where the name is only the best known of what it may mean: "sign" for the name "stop sign".
    """

    names: tuple[str, ...]
    exact: bool = False
    modifiers: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    special: str = ""
    wide: str = ""


def resolve(phrase: str, vocabulary: Sequence[str]) -> Resolution:
    """Find the names of `vocabulary` that `phrase` means.

    Itself, a synonym, or for a general word all its kinds. A word more special than every name is not widened to
    the general one ("ostrich" is not answered with birds): it gives no names, and the general ones in `near`. Words
    for people ("goalkeeper" → "person"), the young and the breeds that are mostly called by their kind ("puppy" →
    "dog") give the name and say that it says less (`special`); compounds that name their kind give the rest as a
    modifier ("school bus" → "bus" with "school").

    >>> resolve("two red cars", ["car", "bus"]).names, resolve("vehicles", ["car", "cup", "bus"]).names
    (('car',), ('car', 'bus'))
    """
    if phrase in vocabulary:  # whatever its words mean by themselves ("no entry sign")
        return Resolution((phrase,), exact=True)
    words = _content_words(phrase)
    return _resolve(tuple(words), tuple(vocabulary)) if words else Resolution(())


def singular(phrase: str) -> str:
    """The phrase with its head noun in the singular: "red cars" → "red car", "glasses of wine" → "glass of wine"."""
    head, rest = _split_at_of(" ".join(phrase.split()))
    before, _, word = head.rpartition(" ")
    return f"{before} {_singular_word(word)}".strip() + rest


def plural(phrase: str) -> str:
    """The phrase with its head noun in the plural; a plural stays as it is."""
    head, rest = _split_at_of(" ".join(phrase.split()))
    before, _, word = head.rpartition(" ")
    return f"{before} {_plural_word(word)}".strip() + rest


def is_plural(phrase: str) -> bool:
    """Whether the head noun can only be a plural: "dogs", "people", "scissors"; not "sheep"."""
    head, _ = _split_at_of(" ".join(phrase.split()))
    word = head.rpartition(" ")[2].lower()
    return _singular_word(word) != word or _is_plurale_tantum(word)


def is_noun(phrase: str) -> bool:
    """Whether WordNet lists the phrase, or its singular, as a common noun."""
    return bool(_nouns().senses_of(singular(phrase.lower())))


def is_thing(noun: str) -> bool:
    """Whether the noun's first sense is something that can be seen: "dog"; not "time", not "love"."""
    senses = _nouns().senses_of(singular(noun.lower()))
    return bool(senses) and int(_nouns().files[senses[0][0]]) in _VISIBLE


def may_be_seen(noun: str) -> bool:
    """Whether any of the noun's first senses is something that can be seen: "kite", which is a bad check first."""
    nouns = _nouns()
    return any(int(nouns.files[one[0]]) in _VISIBLE for one in nouns.senses_of(singular(noun.lower()))[:4])


def is_narrower(noun: str) -> bool:
    """Whether the noun is known to say more than the names that stand in for it: "glass", "taxi"."""
    return noun in _NARROWER


def is_wider(noun: str) -> bool:
    """Whether the noun, in the singular, is known to mean more than the one name that stands in for it: "sign"."""
    return noun in _WIDER


def synonyms(noun: str) -> tuple[str, ...]:
    """Other words for the noun's frequent senses, without itself: "couch" → ("lounge", "sofa")."""
    word = singular(noun.lower())
    found = {lemma for sense in _frequent_senses(word) for lemma in _nouns().lemmas_of(sense)}
    return tuple(sorted(found - {word}))


def is_a(noun: str, general: str) -> bool:
    """Whether a frequent sense of `noun` is a kind of a frequent sense of `general`: is_a("cow", "animal")."""
    wanted = set(_frequent_senses(singular(general.lower())))
    return any(wanted & _nouns().ancestors(sense) for sense in _frequent_senses(singular(noun.lower())))


def carries(noun: str | None) -> bool:
    """Whether a thing is made to sit, lie or stand on, or to put things on: furniture and boards. False for None."""
    if noun is None:
        return False
    return singular(noun.lower()) in ("toilet", "ski") or is_a(noun, "furniture") or is_a(noun, "board")


# ---- resolving -------------------------------------------------------------------------------------------------

# Where WordNet is wrong, silent or too literal about what is seen in pictures. Only names in the vocabulary count;
# an entry none of whose names is there is ignored.
_MEANS: dict[str, tuple[str, ...]] = {
    "vehicle": ("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    "motor vehicle": ("car", "motorcycle", "bus", "truck"),
    "twowheeler": ("bicycle", "motorcycle"),
    "bike": ("bicycle",),
    "pushbike": ("bicycle",),
    "cycle": ("bicycle",),
    "motorbike": ("motorcycle",),
    "motor bike": ("motorcycle",),
    "motor cycle": ("motorcycle",),
    "moped": ("motorcycle",),
    "scooter": ("motorcycle",),
    "taxi": ("car",),
    "cab": ("car",),
    "lorry": ("truck",),
    "pickup": ("truck",),
    "coach": ("bus",),
    "jet": ("airplane",),
    "air plane": ("airplane",),
    "ship": ("boat",),
    "yacht": ("boat",),
    "traffic signal": ("traffic light",),
    "stoplight": ("traffic light",),
    "stop light": ("traffic light",),
    "sailboat": ("boat",),
    "driver": ("person",),
    "human": ("person",),
    "human being": ("person",),
    "folk": ("person",),
    "folks": ("person",),
    "people": ("person",),
    "everyone": ("person",),
    "anyone": ("person",),
    "anybody": ("person",),
    "male": ("person",),
    "female": ("person",),
    "pet": ("cat", "dog"),
    "puppy": ("dog",),
    "pup": ("dog",),
    "doggy": ("dog",),
    "doggie": ("dog",),
    "kitten": ("cat",),
    "birdie": ("bird",),
    "horsey": ("horse",),
    "horsie": ("horse",),
    "kitty": ("cat",),
    "lamb": ("sheep",),
    "pony": ("horse",),
    "foal": ("horse",),
    "cattle": ("cow",),
    "calf": ("cow",),
    "bull": ("cow",),
    "ox": ("cow",),
    "ram": ("sheep",),
    "livestock": ("horse", "sheep", "cow"),
    "farm animal": ("horse", "sheep", "cow"),
    "bag": ("handbag", "backpack", "suitcase"),
    "luggage": ("suitcase", "backpack"),
    "baggage": ("suitcase", "backpack"),
    "football": ("sports ball",),
    "soccer ball": ("sports ball",),
    "basketball": ("sports ball",),
    "baseball": ("sports ball",),
    "volleyball": ("sports ball",),
    "glass": ("wine glass", "cup"),
    "goblet": ("wine glass",),
    "mug": ("cup",),
    "teacup": ("cup",),
    "dish": ("bowl",),
    "food": ("banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake"),
    "dessert": ("donut", "cake"),
    "utensil": ("fork", "knife", "spoon"),
    "cutlery": ("fork", "knife", "spoon"),
    "silverware": ("fork", "knife", "spoon"),
    "flatware": ("fork", "knife", "spoon"),
    "houseplant": ("potted plant",),
    "house plant": ("potted plant",),
    "pot plant": ("potted plant",),
    "monitor": ("tv",),
    "computer monitor": ("tv",),
    "television": ("tv",),
    "screen": ("tv",),
    "flat screen": ("tv",),
    "electronic device": ("tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    "electronics": ("tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    "remote controller": ("remote",),
    "computer": ("laptop",),
    "telephone": ("cell phone",),
    "mobile": ("cell phone",),
    "cellphone": ("cell phone",),
    "smart phone": ("cell phone",),
    "smartphone": ("cell phone",),
    "cell": ("cell phone",),
    "fridge": ("refrigerator",),
    "appliance": ("microwave", "oven", "toaster", "refrigerator"),
    "kitchen appliance": ("microwave", "oven", "toaster", "refrigerator"),
    "stove": ("oven",),
    "cooker": ("oven",),
    "basin": ("sink",),
    "washbasin": ("sink",),
    "stuffed animal": ("teddy bear",),
    "stuffed toy": ("teddy bear",),
    "stuffed bear": ("teddy bear",),
    "plush toy": ("teddy bear",),
    "teddy": ("teddy bear",),
    "settee": ("couch",),
}

# Vocabulary names whose picture sense is another word of WordNet, or not the first plausible sense of the word.
_STANDS_FOR: dict[str, tuple[str, int]] = {
    "mouse": ("computer mouse", 1),
    "hot dog": ("hot dog", 2),
    "cake": ("cake", 3),
    "toilet": ("toilet", 2),
    "cell phone": ("cellular telephone", 1),
    "sports ball": ("ball", 1),
    "wine glass": ("wineglass", 1),
    "potted plant": ("pot plant", 1),
    "stop sign": ("street sign", 1),
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words for whatever there is.
ANYTHING = _words("object thing item stuff something anything everything")

# Of what `_MEANS` translates, words that say more than the name: not every car is a taxi.
_NARROWER = _words(
    "moped scooter taxi cab pickup coach jet ship yacht sailboat driver male female puppy pup kitten lamb pony foal "
    "calf bull ox ram football basketball baseball volleyball mug teacup glass"
) | {"soccer ball"}

# Of what one name of a vocabulary stands for, words that may mean other things as well: not every sign is a stop sign.
_WIDER = _words("sign light lamp phone telephone computer plant glove dryer drier") | {"street sign", "traffic sign"}

# Words for people that say no more than "person".
_ANY_PERSON = _words("person people human folk folks individual somebody someone anybody anyone everyone everybody") | {
    "human being"
}

COLORS = _words("black white red green blue yellow brown grey gray orange pink purple golden silver beige tan")

# Adjectives that WordNet's compounds must not swallow: a "black cat" is a cat, not the polecat.
_PLAIN_ADJECTIVES = COLORS | _words("big small large little tall short long young old new dark light wooden metal")

# Words before "of" that measure what follows, so that "slice of pizza" is pizza; other heads keep their own meaning.
_MEASURES = _words("slice piece pair group bunch herd flock set couple row pile stack lot crowd number kind type sort")

# WordNet's lexicographer files whose things can be seen: tops, animal, artifact, food, object, person, plant.
_TOPS, _ANIMAL, _ARTIFACT, _FOOD, _OBJECT, _PERSON, _PLANT = 3, 5, 6, 13, 17, 18, 20
_VISIBLE = (_TOPS, _ANIMAL, _ARTIFACT, _FOOD, _OBJECT, _PERSON, _PLANT)
_LIKELIER = (_TOPS, _ANIMAL, _ARTIFACT, _FOOD)

# A sense counts as frequent when it was tagged at least this often relative to the word's most frequent visible one.
_FREQUENT = 0.2


@lru_cache(maxsize=4096)
def _resolve(words: tuple[str, ...], vocabulary: tuple[str, ...]) -> Resolution:
    if "of" in words[1:-1]:
        at = words.index("of", 1)
        if _singular_word(words[at - 1]) in _MEASURES:
            return _resolve(tuple(_content_words(" ".join(words[at + 1 :]))), vocabulary)
        found = _resolve(words[:at], vocabulary)
        behind = tuple(word for word in words[at + 1 :] if word not in _DETERMINERS)  # "bottle of water": water bottle
        return replace(found, modifiers=(*found.modifiers, *behind))

    for start in range(len(words)):
        tail, before = " ".join(words[start:]), words[:start]
        noun = _singular_word(tail) if " " not in tail else singular(tail)
        names, exact = _names_of(noun, vocabulary)
        if names:
            special = noun if _says_more(noun, names) else ""
            wide = noun if is_wider(noun) and len(names) == 1 and noun not in names else ""
            return Resolution(names, exact, before, special=special, wide=wide)
        senses = _frequent_senses(noun)
        if (
            senses and " " in noun and words[start] not in _PLAIN_ADJECTIVES
        ):  # a compound of its own, "cable car": is it a kind of what its last word says?
            short = _resolve(words[-1:], vocabulary)
            meant = {_picture_sense(name) for name in short.names}
            if short.names and any(meant & _nouns().ancestors(sense) for sense in senses):
                return Resolution(short.names, short.exact, words[:-1], special=short.special)
            return Resolution((), near=_general_names(noun, vocabulary))
    noun = _singular_word(words[-1])
    return _closed_compound(noun, vocabulary) or Resolution((), False, (), _general_names(noun, vocabulary))


@lru_cache(maxsize=4096)
def _names_of(noun: str, vocabulary: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """The names meant by a noun in the singular, and whether it is the name or a synonym of it."""
    same = tuple(name for name in vocabulary if _key(name) == _key(noun))
    if same:
        return same, True
    if noun in ANYTHING:
        return vocabulary, False
    listed = tuple(name for name in _MEANS.get(noun, ()) if name in vocabulary)
    if listed:
        return listed, len(listed) == 1
    senses = set(_frequent_senses(noun))
    picture = {name: _picture_sense(name) for name in vocabulary}
    # Only the most frequent sense makes a synonym: a "pot" may be a toilet, but hardly ever is.
    same_sense = tuple(name for name, sense in picture.items() if sense in _frequent_senses(noun)[:1])
    if same_sense:
        return same_sense, len(same_sense) == 1
    kinds = tuple(name for name, sense in picture.items() if sense is not None and senses & _nouns().ancestors(sense))
    # Of a general word for made things with a single kind here, that kind is hardly what was meant ("plate" is no
    # frisbee, "way" no fire hydrant), unless the name itself says so ("racket" and "tennis racket").
    natural = any(_nouns().files[sense] == _ANIMAL for sense in senses)
    if len(kinds) > 1 or (kinds and natural) or any(name.endswith(noun) for name in kinds):
        return kinds, False
    if " " not in noun:
        ending = tuple(name for name in vocabulary if name.endswith(" " + noun))
        if len(ending) == 1:
            return ending, False
    if _is_person(noun):
        person = _nouns().first_sense("person")
        return tuple(name for name, sense in picture.items() if sense == person), False
    return (), False


def _says_more(noun: str, names: tuple[str, ...]) -> bool:
    """Whether the noun is narrower than the names that stand in for it: "woman" than "person"."""
    if noun in names or noun in _ANY_PERSON:
        return False
    return noun in _NARROWER or (names == ("person",) and _is_person(noun))


def _is_person(noun: str) -> bool:
    """A word whose first sense of all is a kind of person: "goalkeeper"; not "family", not "ostrich" (also a bird)."""
    nouns = _nouns()
    senses = nouns.senses_of(noun)
    frequent = _frequent_senses(noun)
    return bool(
        senses
        and senses[0][0] in frequent
        and nouns.first_sense("person") in nouns.ancestors(senses[0][0])
        and (senses[0][1] > 0 or not any(nouns.files[sense] == _ANIMAL for sense in frequent))
    )


def _closed_compound(noun: str, vocabulary: tuple[str, ...]) -> Resolution | None:
    """ "sailboat" as the modifier "sail" and "boat": only where WordNet agrees that it is a kind of boat."""
    general = set(_general_names(noun, vocabulary))
    for name in vocabulary:
        if name in general and noun.endswith(name) and len(name) >= 3:
            return Resolution((name,), False, (noun[: -len(name)],))
    return None


def _general_names(noun: str, vocabulary: tuple[str, ...]) -> tuple[str, ...]:
    above = frozenset().union(*(_nouns().ancestors(sense) for sense in _frequent_senses(noun)))
    if not _is_person(noun):
        above -= {_nouns().first_sense("person")}
    return tuple(name for name in vocabulary if _picture_sense(name) in above)


@lru_cache(maxsize=4096)
def _frequent_senses(noun: str) -> tuple[int, ...]:
    """Synsets of a noun that can be seen and are not rare, most frequent first; without a visible one, the first."""
    nouns = _nouns()
    senses = nouns.senses_of(noun)
    visible = [(sense, count) for sense, count in senses if nouns.files[sense] in _VISIBLE]
    if not visible:
        return tuple(sense for sense, _ in senses[:1])
    most = max(count for _, count in visible)
    if most == 0:  # never tagged: the first two, as WordNet orders them
        return tuple(sense for sense, _ in visible[:2])
    return tuple(sense for sense, count in visible if count >= _FREQUENT * most)


@lru_cache(maxsize=4096)
def _picture_sense(name: str) -> int | None:
    """The one synset that a vocabulary name means in a picture; None when WordNet lacks the word."""
    word, wanted = _STANDS_FOR.get(name, (name, 0))
    nouns = _nouns()
    senses = [sense for sense, _ in nouns.senses_of(word) or nouns.senses_of(singular(word))]
    if wanted:
        return senses[wanted - 1] if len(senses) >= wanted else None
    for group in (_LIKELIER, _VISIBLE):
        for sense in senses:
            if nouns.files[sense] in group:
                return sense
    return senses[0] if senses else None


def _key(name: str) -> str:
    """Equal for spellings of one name: "surf board", "surf-board" and "surfboards"."""
    return re.sub(r"[\s\-_]+", "", singular(name.lower()))


def _content_words(phrase: str) -> list[str]:
    """Lower-case words without leading articles, numbers and quantifiers."""
    words = re.findall(r"[^\W_]+(?:'[a-z]+)?", phrase.lower().replace("’", "'"))
    while len(words) > 1 and (words[0] in _DETERMINERS or words[0].isdigit()):
        words = words[1:]
    return words


_DETERMINERS = _words(
    "a an the this that these those any some all every each no both my your his her its our their "
    "one two three four five six seven eight nine ten several many few"
)


# ---- singular and plural ---------------------------------------------------------------------------------------

_IRREGULAR_SINGULAR = {"people": "person", "persons": "person", "tvs": "tv", "busses": "bus", "buses": "bus"}
_IRREGULAR_PLURAL = {
    "person": "people", "ox": "oxen", "potato": "potatoes", "tomato": "tomatoes", "bus": "buses", "taxi": "taxis"
}  # fmt: skip
_UNCHANGED = _words(
    "sheep deer fish aircraft broccoli luggage baggage furniture cutlery silverware cattle species series people "
    "folk food fruit text writing clothing equipment"
)
_SUFFIXES = (("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("ies", "y"), ("s", ""))


@lru_cache(maxsize=8192)
def _singular_word(word: str) -> str:
    """WordNet's own morphology: exceptions first, then endings that give a known noun."""
    word = word.lower()
    if word in _IRREGULAR_SINGULAR:
        return _IRREGULAR_SINGULAR[word]
    nouns = _nouns()
    if word in nouns.irregular:
        return nouns.irregular[word]
    if word.endswith("men") and nouns.senses_of(word[:-3] + "man"):
        return word[:-3] + "man"
    if not word.endswith("s") or word.endswith("ss") or word in _UNCHANGED or len(word) < 3:
        return word
    stems = [word[: len(word) - len(ending)] + other for ending, other in _SUFFIXES if word.endswith(ending)]
    weights = [(nouns.weight(stem, -1), stem) for stem in stems]
    best, stem = max(weights, key=lambda pair: pair[0])  # "vases" is vase, not vas
    # "scissors" and "trousers" are words of their own; "glasses" is mostly more than one glass.
    itself = nouns.weight(word, -1)
    if max(best, itself) >= 0:
        return stem if best > itself else word
    if word.endswith(("us", "is")):
        return word
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]


@lru_cache(maxsize=8192)
def _plural_word(word: str) -> str:
    lower = word.lower()
    if lower in _IRREGULAR_PLURAL:
        return _IRREGULAR_PLURAL[lower]
    if lower in _UNCHANGED or _singular_word(lower) != lower or _is_plurale_tantum(lower):
        return word
    regular = _regular_plural(lower)
    listed = _nouns().irregular_plurals.get(lower, ())
    return regular if not listed or regular in listed else listed[0]


def _regular_plural(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word[:-3] + "men" if word.endswith("man") and word != "human" else word + "s"


def _is_plurale_tantum(word: str) -> bool:
    """ "scissors", "trousers", "skis" as a name: ends like a plural and has no singular of its own."""
    return len(word) > 4 and word.endswith("s") and not word.endswith(("ss", "us", "is", "as", "ns", "os"))


def _split_at_of(phrase: str) -> tuple[str, str]:
    head, of, rest = phrase.partition(" of ")
    return head, of + rest


# ---- the data --------------------------------------------------------------------------------------------------


class _Nouns:
    """WordNet's nouns as arrays.

    Lemmas are one sorted, newline-ended byte string; lemma i has the synsets senses[sense_starts[i]:sense_starts[i+1]],
    most frequent first, tagged sense_counts times; synset s has the hypernyms parents[parent_starts[s]:…] and the
    lexicographer file files[s].
    """

    def __init__(self) -> None:
        with (files("fo1agent") / "data" / "lexicon" / "nouns.npz").open("rb") as stream, np.load(stream) as data:
            lemmas = data["lemmas"]
            self._blob = lemmas.tobytes()
            self._ends = np.flatnonzero(lemmas == ord("\n"))
            self._sense_starts = data["sense_starts"]
            self._senses = data["senses"]
            self._counts = data["sense_counts"]
            self._parent_starts = data["parent_starts"]
            self._parents = data["parents"]
            self.files = data["files"]
            pairs = [line.split() for line in data["irregular"].tobytes().decode().splitlines()]
        self.irregular: dict[str, str] = {}
        self.irregular_plurals: dict[str, list[str]] = {}
        for plural_form, base in pairs:
            self.irregular.setdefault(plural_form.replace("_", " "), base.replace("_", " "))
            self.irregular_plurals.setdefault(base, []).append(plural_form)
        self._ancestors: dict[int, frozenset[int]] = {}
        self._by_synset: np.ndarray | None = None

    def _lemma(self, i: int) -> bytes:
        return self._blob[self._ends[i - 1] + 1 if i else 0 : self._ends[i]]

    def senses_of(self, lemma: str) -> list[tuple[int, int]]:
        """(synset, times tagged) of a lemma, in WordNet's order; empty when it is not listed."""
        wanted = lemma.encode()
        i = bisect_left(range(len(self._ends)), wanted, key=self._lemma)
        if i == len(self._ends) or self._lemma(i) != wanted:
            return []
        span = slice(self._sense_starts[i], self._sense_starts[i + 1])
        return list(zip(self._senses[span].tolist(), self._counts[span].tolist(), strict=True))

    def first_sense(self, lemma: str) -> int:
        return self.senses_of(lemma)[0][0]

    def weight(self, lemma: str, default: int) -> int:
        """How often any sense was tagged; `default` when the lemma is not listed."""
        senses = self.senses_of(lemma)
        return sum(count for _, count in senses) if senses else default

    def ancestors(self, synset: int) -> frozenset[int]:
        """Every hypernym of a synset, up to the root, without itself."""
        if synset not in self._ancestors:
            direct = self._parents[self._parent_starts[synset] : self._parent_starts[synset + 1]].tolist()
            self._ancestors[synset] = frozenset(direct).union(*map(self.ancestors, direct))
        return self._ancestors[synset]

    def lemmas_of(self, synset: int) -> Iterable[str]:
        """The words of a synset."""
        if self._by_synset is None:
            self._by_synset = np.argsort(self._senses, kind="stable")
        ordered = self._senses[self._by_synset]
        span = slice(np.searchsorted(ordered, synset), np.searchsorted(ordered, synset, side="right"))
        for position in self._by_synset[span]:
            yield self._lemma(int(np.searchsorted(self._sense_starts, position, side="right")) - 1).decode()


@lru_cache(maxsize=1)
def _nouns() -> _Nouns:
    return _Nouns()
