"""The closed classes of English that the grammar is built on: function words, never things that can be seen.

Every word that is in none of these sets may be part of the name of a thing.
"""

from __future__ import annotations


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
    "see spot find notice detect observe identify recognize recognise perceive count discern view discover locate make"
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
STANCE = words(
    "standing sitting lying parked located situated positioned placed seated hanging walking running resting waiting "
    "stand stands sit sits lie lies rest rests hang hangs stood sat laid lay put set stationed laying existing "
    "appearing "
    "come comes located lined seem seems look looks stay stays walk walks wait waits hover hovers standing belong "
    "belongs find go goes going moving kept arranged held mounted grazing playing flying floating swimming "
    "driving travelling traveling crossing"
)
PICTURE = words(
    "picture image photo photograph scene shot frame snapshot view pic photography pictures images photos screenshot "
    "snap footage drawing painting illustration camera photographer"
)
FILLER = words(
    "please actually really exactly approximately roughly currently clearly just overall also too then so now ok okay "
    "again kindly simply maybe perhaps altogether together combined total respectively either precisely "
    "specifically even still anywhere somewhere presently ever already though hey hello hi well um uh thanks thank "
    "distinct separate visibly definitely strictly horizontally vertically rather collectively jointly indeed"
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
    "transcribe also then please and highlight there any calculate add verify"
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
    | (STANCE - {"set", "walk", "playing", "swimming", "rest", "put", "flying", "look"})
    | COMPARATIVES
    | words(
        "it they them itself themselves he she him i you we me us there here not than that 's ' outnumber outnumbers"
    )
    | words("surpass surpasses match matches both neither nor all makes")
    | words("outnumbered exceed exceeds say says wearing holding carrying riding using touching overlapping numerous")
    | words("nearest closest farthest furthest versus equals minus contain contains include includes common frequent")
    | words("see spot notice detect observe find apart")
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
    "middle": "central",
    "center": "central",
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
SIDE_PARTS = words("side half part edge end portion third section area region corner hand sides quarter bit")

# Comparative adjective → (what is measured, comparison).
MEASURES = {
    **dict.fromkeys(("bigger", "larger", "greater"), ("area", "more")),
    "smaller": ("area", "fewer"),
    "taller": ("height", "more"),
    "shorter": ("height", "fewer"),
    "wider": ("width", "more"),
    **dict.fromkeys(("narrower", "thinner"), ("width", "fewer")),
    **dict.fromkeys(("closer", "nearer"), ("distance", "fewer")),
    **dict.fromkeys(("farther", "further"), ("distance", "more")),
}

NUMBERS = {
    word: i
    for i, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
}
ORDINALS = {
    **{word: i for i, word in enumerate(("first", "second", "third", "fourth", "fifth", "sixth", "seventh"), 1)},
    **{
        f"{i}{ending}": i for i, ending in ((1, "st"), (2, "nd"), (3, "rd"), (4, "th"), (5, "th"), (6, "th"), (7, "th"))
    },
}

TEXT_NOUNS = words("text word words writing letter letters lettering inscription message caption print texts writings")
BEARERS = words(
    "sign signs signboard label labels plate plates poster posters banner banners billboard billboards screen display "
    "logo placard nameplate license licence number numbers"
)
ASPECTS = words(
    "color colour colors kind type sort breed brand material shape make model species pattern style texture"
)

TOTALS = words("total altogether combined together sum overall")
OFTEN = words("numerous common frequent plentiful abundant prevalent often frequently prominent")
WRITTEN = words("written printed inscribed painted engraved labeled labelled lettered spelled embroidered")
