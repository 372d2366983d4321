"""The closed classes of English that the grammar is built on: function words, never things that can be seen.

Every word that is in none of these sets may be part of the name of a thing.
"""

from __future__ import annotations

from fo1agent.words.numbers import NUMBERS as NUMBERS


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def phrases(text: str) -> tuple[str, ...]:
    """The phrases between the bars, in their order; the grammar takes the first that fits, so longer ones go first."""
    return tuple(phrase.strip() for phrase in text.split("|"))


BE = words("is are was were be been being am")
DO = words("do does did")
HAVE = words("has have had having got")
MODAL = words("can could will would should may might must shall")
AUXILIARY = BE | DO | HAVE | MODAL
PEOPLE_PRONOUNS = words("you i we one")
SEE = words(
    "see spot find notice detect observe identify recognize recognise perceive count discern view discover locate "
    "make saw spotted noticed found"
)
SHOW = words(
    "show shows contain contains include includes feature features depict depicts display displays have has hold holds "
    "present presents portray portrays capture captures got showing depicting containing displaying featuring having"
)
APPEAR = words("appear appears exist exists occur occurs feature features show shows")
SHOWN = words(
    "visible present shown displayed depicted pictured captured featured seen found spotted counted photographed "
    "included contained detectable observable noticeable apparent around available identifiable recognizable "
    "discernible absent missing"
)
# How something is where it is; by itself ("Is he sitting?") it is asked for, before a place it says no more than "is".
POSTURE = {
    **dict.fromkeys(("standing", "stand", "stands", "stood"), "standing"),
    **dict.fromkeys(("sitting", "sit", "sits", "sat", "seated"), "sitting"),
    **dict.fromkeys(("lying", "lie", "lies", "lay", "laid", "laying"), "lying"),
    **dict.fromkeys(("resting", "rest", "rests"), "resting"),
    **dict.fromkeys(("hanging", "hang", "hangs"), "hanging"),
    **dict.fromkeys(("perched", "leaning"), "leaning"),
    **{word: word for word in ("parked", "stacked", "mounted", "arranged", "lined", "kept", "held")},
}
# Said of a thing behind its name, and formed like no other word.
PARTICIPLES = words(
    "ridden held worn eaten driven broken seen hung caught thrown drawn kept made sold stolen tied bitten"
)
PLACED = words(
    "located situated positioned placed put set stationed existing appearing lined seem seems look looks "
    "stay stays "
    "hover hovers belong belongs find come comes"
)
STANCE = POSTURE.keys() | PLACED
PICTURE = words(
    "picture image photo photograph scene shot frame snapshot view pic photography pictures images photos screenshot "
    "snap footage drawing painting illustration camera photographer"
)
FILLER = words(
    "please actually really exactly approximately roughly currently clearly just overall also too then so now ok okay "
    "again kindly simply maybe perhaps altogether together combined total respectively either precisely "
    "specifically even anywhere somewhere presently already though hey hello hi well um uh thanks thank "
    "directly immediately distinct separate visibly definitely strictly horizontally vertically rather collectively "
    "jointly indeed"
)
DETERMINERS = words("the a an any some all every each no this that these those both my your our another other single")
POSSESSIVES = words("its their his her")
PRONOUNS = words("it they them this that these those he she him her itself themselves")
ANIMATE_PRONOUNS = words("he she him her")
PERSONS = words("anyone anybody someone somebody everyone everybody who")
NOBODY = {"nobody": "person", "nothing": ""}
PREPOSITIONS = words(
    "of in on at to from by near above below under over beneath underneath beside besides behind between inside within "
    "outside with without into onto along alongside around against atop next close adjacent nearby through throughout "
    "across off for about than as toward towards among amongst beyond past via opposite upon underneath amid"
)
CONJUNCTIONS = words("and or but nor plus minus while whereas because & , ; : ? . ! ( ) versus vs")
WH = words("what which who whom whose where when why how whether if")
QUESTION_START = WH | AUXILIARY | words(
    "count describe read tell locate find show point give list name identify compare say check state report determine "
    "transcribe also then please and highlight there any calculate add verify segment outline cut trace click tap "
    "press mask draw select choose pick touch crop circle"
)  # fmt: skip
COMPARATIVES = words(
    "more fewer less most least closer nearer farther further higher lower bigger larger smaller taller shorter wider "
    "narrower greater equal same"
)
BOUNDARY = (
    AUXILIARY
    | PREPOSITIONS
    | CONJUNCTIONS
    | WH
    | SHOWN
    | APPEAR
    | FILLER
    | (STANCE - words("set walk rest put look find lay"))
    | COMPARATIVES
    | words(
        "it they them itself themselves he she him i you we me us there here not than that 's ' outnumber outnumbers"
    )
    | words("surpass surpasses match matches both neither nor all makes")
    | words("outnumbered exceed exceeds say says wearing holding carrying riding using touching overlapping numerous")
    | words(
        "nearest closest farthest furthest versus equals minus contain contains include includes common frequent "
        "meaning"
    )
    | words("see spot notice detect observe find apart out away aside")
)

SUPERLATIVES = {
    **dict.fromkeys(("largest", "biggest", "greatest", "hugest"), "largest"),
    **dict.fromkeys(("smallest", "tiniest", "littlest"), "smallest"),
    "tallest": "tallest",
    "shortest": "shortest",
    "widest": "widest",
    **dict.fromkeys(("narrowest", "thinnest"), "narrowest"),
    "leftmost": "leftmost",
    "rightmost": "rightmost",
    **dict.fromkeys(("topmost", "uppermost", "highest"), "topmost"),
    **dict.fromkeys(("lowest", "bottommost", "lowermost"), "lowest"),
    **dict.fromkeys(("nearest", "closest"), "nearest"),
    **dict.fromkeys(("farthest", "furthest", "remotest"), "farthest"),
    "central": "central",
}
DIRECTION_ORDER = {
    "left": "leftmost",
    "right": "rightmost",
    "top": "topmost",
    "bottom": "lowest",
    "upper": "topmost",
    "lower": "lowest",
    "up": "topmost",
    "down": "lowest",
    "middle": "middle",
    "center": "middle",
}
SIZE_ORDER = {
    **dict.fromkeys(("big", "large", "bigger", "larger"), "largest"),
    **dict.fromkeys(("small", "little", "smaller", "tiny"), "smallest"),
    **dict.fromkeys(("tall", "taller"), "tallest"),
    **dict.fromkeys(("short", "shorter"), "shortest"),
    **dict.fromkeys(("wide", "wider", "longer"), "widest"),
    **dict.fromkeys(("narrow", "narrower"), "narrowest"),
}
SIDES = {
    "left": "left",
    "right": "right",
    "top": "top",
    "upper": "top",
    "bottom": "bottom",
    "lower": "bottom",
    "middle": "middle",
    "center": "middle",
}
SIDE_PARTS = words("side half part edge end portion third section area region corner hand sides bit")

# Comparative adjective → (what is measured, comparison).
MEASURES = {
    **dict.fromkeys(("bigger", "larger", "greater"), ("area", "more")),
    "smaller": ("area", "fewer"),
    "taller": ("height", "more"),
    "shorter": ("height", "fewer"),
    "wider": ("width", "more"),
    **dict.fromkeys(("narrower", "thinner"), ("width", "fewer")),
    "longer": ("width", "more"),
    "higher": ("y", "fewer"),
    "lower": ("y", "more"),
    **dict.fromkeys(("closer", "nearer"), ("distance", "fewer")),
    **dict.fromkeys(("farther", "further"), ("distance", "more")),
}

# What a superlative measures, and whether it is the one with more or with less of it.
OF_ORDER = {
    "largest": ("area", "more"),
    "smallest": ("area", "fewer"),
    "tallest": ("height", "more"),
    "shortest": ("height", "fewer"),
    "widest": ("width", "more"),
    "narrowest": ("width", "fewer"),
    "leftmost": ("x", "fewer"),
    "rightmost": ("x", "more"),
    "topmost": ("y", "fewer"),
    "lowest": ("y", "more"),
    "nearest": ("distance", "fewer"),
    "farthest": ("distance", "more"),
}

MULTIPLES = {"dozen": 12, "dozens": 12, "hundred": 100, "thousand": 1000, "million": 1_000_000}
_FIRST = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
]
ORDINALS = {
    **{word: i for i, word in enumerate(_FIRST, 1)},
    **{f"{i}{ending}": i for i in range(1, 101) for ending in ("st", "nd", "rd", "th")},
}

TEXT_NOUNS = words("text word words writing letter letters lettering inscription message caption print texts writings")
BEARERS = words(
    "sign signs signboard label labels plate plates poster posters banner banners billboard billboards screen display "
    "logo placard nameplate license licence number numbers"
)
ASPECTS = words(
    "color colour colors kind type sort breed brand material shape make model species pattern style texture"
)

# Nouns for numbers: what asks whether there is one was not understood.
NUMBER_NOUNS = words("number amount percentage percent average sum rest difference total share proportion")

# Where a whole picture may have been taken.
PLACES = words(
    "kitchen room bedroom bathroom lounge office classroom school farm beach station airport park garden yard backyard "
    "playground zoo market supermarket shop store restaurant cafe bar hall museum library gym stadium harbour "
    "harbor port "
    "marina garage workshop warehouse factory street town city village square plaza courtyard house home building "
    "church "
    "hotel hospital studio theatre theater court arena pier terrace patio balcony campsite picnic party slope hill "
    "valley forest woods field meadow lawn stall crossing stop "
    "lobby corridor hallway cabin"
)
# What a question is wrapped in: "who can tell me", "my little one wants to know".
FRAME = words(
    "i me my you we us who can could would will do does did please kindly tell say know knows think guess see want "
    "wants "
    "need needs like love wonder wondering asking ask hoping hope help check find out let to if whether that about "
    "just "
    "quick quickly question so well now hi hello hey ok okay and but only favor favour a the one thing little mom "
    "mum dad "
    "mother father wife husband son daughter boss friend teacher kid kids child for am is was are trying be it go "
    "ahead "
    "sister brother neighbor says thinks believes claims says heard hear believe suppose assume bet "
    "sorry thanks thank look looking at this here sure curious interested in give short answer all"
)
# Who is spoken to.
VOCATIVES = words(
    "sweetheart honey dear darling children kids guys folks buddy friend sir madam mate computer assistant robot "
    "hey dude "
    "everybody everyone team people mister love"
)
# What a sentence ends in that asks whether it is so: ", isn't it?", "am I right?".
TAG = words(
    "is are do does did was were has have had can could would will am not it there that they he she i you we right "
    "correct "
    "true false wrong or yes no see think correctly agree ok okay huh eh sure this so please thanks thank must be "
    "really"
)
TOTALS = words("total altogether combined together sum overall")
OFTEN = words("numerous common frequent plentiful abundant prevalent often frequently prominent")
WRITTEN = words("written printed inscribed painted engraved labeled labelled lettered spelled embroidered")
