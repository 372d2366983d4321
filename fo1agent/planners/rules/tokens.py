"""Question text to tokens: lower case, contractions written out, hyphens opened, one spelling for each word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_CONTRACTIONS = (
    (r"\bcan't\b", "can not"),
    (r"\bcannot\b", "can not"),
    (r"(?<!\S)-(?=\d)", "minus "),
    (r"\bwon't\b", "will not"),
    (r"\bain't\b", "is not"),
    (r"\b(\w+)n't\b", r"\1 not"),
    (r"\b(what|who|where|there|how|that|it|here|which|he|she|when)'s\b", r"\1 is"),
    (r"\b(what|which) (\w+)'s\b(?! colou?r)", r"\1 \2 is"),
    (
        r"\b(\w+)'s (?=(?:black|white|red|green|blue|yellow|brown|gr[ae]y|orange|pink|purple)(?:[,.?]| or\b|$))",
        r"\1 is ",
    ),
    (r"\b(\w+)'s (?=(?:on|in|under|at|next to|near|behind|above|below|between|not)\b)", r"\1 is "),
    (r"\bi\.e\.?(?=\W)", "meaning"),
    (r"\b(what|who|where|there|how|it|they|you|we|that|which)'re\b", r"\1 are"),
    (r"\bi'm\b", "i am"),
    (r"\b(i|you|we|they|he|she|it|there)'d\b", r"\1 would"),
    (r"\b(i|you|we|they)'ve\b", r"\1 have"),
    (r"\b(i|you|we|they|he|she|it|there|that)'ll\b", r"\1 will"),
    (r"\blet's\b", "let us"),
    # People also type them without the apostrophe.
    (r"\b(what|who|where|there|how)s\b", r"\1 is"),
    (r"\b(is|are|does|do)nt\b", r"\1 not"),
)
_SPELLINGS = {
    "colour": "color",
    "colours": "color",
    "colors": "color",
    "coloured": "colored",
    "centre": "center",
    "centres": "center",
    "vs": "versus",
    "amount": "number",
    "quantity": "number",
    "&": "and",
    "+": "plus",
    "=": "equals",
    "leftward": "left",
    "leftwards": "left",
    "rightward": "right",
    "rightwards": "right",
    "lefthand": "left",
    "righthand": "right",
    "pls": "please",
    "plz": "please",
    "r": "are",
    "u": "you",
    "whats": "what",
    "theres": "there",
    "ppl": "people",
    "peeps": "people",
    "pic": "picture",
    "pics": "pictures",
    "n't": "not",
    "teh": "the",
    "hte": "the",
    "meny": "many",
    "mnay": "many",
    "thier": "their",
    "pepole": "people",
    "peopel": "people",
    "yelow": "yellow",
    "wich": "which",
    "rigth": "right",
    "pictrue": "picture",
    "thre": "there",
}
# Roundabout phrases and the plain ones that say the same; "" where nothing is lost.
_PLAINER = (
    ("are you able to", "can you"),
    ("is one able to", "can you"),
    ("are we able to", "can you"),
    ("is it possible to", "can you"),
    ("be able to", ""),
    ("are we looking at", "are there"),
    ("am i looking at", "are there"),
    ("am i seeing", "are there"),
    ("are we seeing", "are there"),
    ("would you say is", "is"),
    ("would you say are", "are"),
    ("what would be", "what is"),
    ("do a count of", "count"),
    ("can i get", "give me"),
    ("can i have", "give me"),
    ("could i have", "give me"),
    ("could i get", "give me"),
    ("may i have", "give me"),
    ("i need the", "give me the"),
    ("i need a", "give me a"),
    ("the headcount of", "the number of"),
    ("the headcount", "the number of people"),
    ("headcount of", "number of"),
    ("headcount", "number of people"),
    ("a count of", "the number of"),
    ("count of", "number of"),
    ("counts of", "number of"),
    ("tally of", "number of"),
    ("there are how many", "how many"),
    ("there is how many", "how many"),
    ("how many items that are", "how many"),
    ("how many objects that are", "how many"),
    ("how many things that are", "how many"),
    ("instances of a", ""),
    ("instances of an", ""),
    ("instances of", ""),
    ("units of", ""),
    ("any of the", "any"),
    ("some of the", "some"),
    ("is one of the objects a", "is there a"),
    ("is one of the things a", "is there a"),
    ("is one of the", "is any"),
    ("either of the", "any"),
    ("none of the", "no"),
    ("everyone", "all people"),
    ("everybody", "all people"),
    ("who or what", "what"),
    ("such a thing as", ""),
    ("by any chance", ""),
    ("any evidence of", "any"),
    ("any sign of", "any"),
    ("any signs of", "any"),
    ("any trace of", "any"),
    ("evidence of", ""),
    ("the presence of", ""),
    ("a lack of", "no"),
    ("an absence of", "no"),
    ("whose position is", ""),
    ("whose location is", ""),
    ("what is the position of", "where is"),
    ("what is the location of", "where is"),
    ("the position of", ""),
    ("the location of", ""),
    ("'s position", ""),
    ("'s location", ""),
    ("has a position", "is"),
    ("have a position", "are"),
    *((f"{word} color", "color") for word in ("main", "dominant", "predominant", "primary", "overall", "principal")),
    ("occupies", "is in"),
    ("occupy", "are in"),
    ("part of", "in"),
    ("among the objects", "here"),
    ("among the things", "here"),
    ("as compared to", "than"),
    ("compared to", "than"),
    ("compared with", "than"),
    ("in comparison to", "than"),
    ("in comparison with", "than"),
    ("present in greater numbers than", "more numerous than"),
    ("in greater number than", "more numerous than"),
    ("in greater numbers than", "more numerous than"),
    ("in larger numbers than", "more numerous than"),
    ("in smaller numbers than", "less numerous than"),
    ("in number than", "than"),
    ("in numbers than", "than"),
    ("rarer than", "less numerous than"),
    ("scarcer than", "less numerous than"),
    ("in the majority over", "more numerous than"),
    ("in the majority compared to", "more numerous than"),
    ("in the majority compared with", "more numerous than"),
    ("the majority than", "more numerous than"),
    ("free of", "without"),
    ("add up to", "equals"),
    ("make how many", "equals how many"),
    ("number how many", "equals how many"),
    ("put together", "together"),
    ("taken together", "together"),
    ("added together", "together"),
    ("when added together", "together"),
    ("added up", "together"),
    ("when counted together", "together"),
    ("if counted together", "together"),
    ("counted together", "together"),
    ("if you count them together", "together"),
    ("if you add them up", "together"),
    ("if you add them together", "together"),
    ("when combined", "combined"),
    ("as a total", "in total"),
    ("on the whole", ""),
    ("happen to", ""),
    ("in a position", ""),
    ("considering only the area", ""),
    ("is not a single", "is no"),
    ("are not a single", "is no"),
    ("relative to", "with respect to"),
    ("on the left relative to", "left of"),
    ("on the right relative to", "right of"),
    ("to the left relative to", "left of"),
    ("to the right relative to", "right of"),
    ("comparing the counts ,", ""),
    ("comparing the numbers ,", ""),
    ("anything like", ""),
    ("across both", "of"),
    ("in the area to the", "to the"),
    ("in the area left", "left"),
    ("in the area right", "right"),
    ("when than", "than"),
    ("when counting ,", ""),
    ("about how many", "how many"),
    ("show up", "appear"),
    ("shows up", "appears"),
    ("devoid of", "without"),
    ("in there", "here"),
    ("as well", ""),
    ("not far from", "near"),
    ("not that far from", "near"),
    ("not too far from", "near"),
    ("not far away from", "near"),
    ("have a color other than", "are not"),
    ("has a color other than", "is not"),
    ("with a color other than", "that are not"),
    ("of a color other than", "that are not"),
    ("what has been left", "what is"),
    ("what has been put", "what is"),
    ("what was left", "what is"),
    ("what was put", "what is"),
    ("what has somebody put", "what is"),
    ("what has someone put", "what is"),
    ("what did somebody put", "what is"),
    ("what did someone put", "what is"),
    ("not more and not fewer", ""),
    ("not more and not less", ""),
    ("no more and no less", ""),
    ("no more no less", ""),
    ("do we have left", "are there"),
    ("do i have left", "are there"),
    ("are there left", "are there"),
    ("left over", ""),
    ("two wheelers", "twowheelers"),
    ("two wheeler", "twowheeler"),
    ("sorry to bother you", ""),
    ("excuse me", ""),
    ("if you do not mind", ""),
    ("would you mind telling me", "tell me"),
    ("when you add them up", "together"),
    ("when you add them together", "together"),
    ("all added up", "together"),
    ("all put together", "together"),
    ("out of the", "of the"),
    ("what does that come to", "what is the total"),
    ("what do they come to", "what is the total"),
    ("how much is that", "what is the total"),
    ("how many is that altogether", "what is the total"),
    ("in here", "here"),
)
_JOINED = (
    (("left", "most"), "leftmost"),
    (("right", "most"), "rightmost"),
    (("top", "most"), "topmost"),
    (("upper", "most"), "uppermost"),
    (("bottom", "most"), "bottommost"),
    (("left", "hand"), "left"),
    (("right", "hand"), "right"),
    (("in", "between"), "between"),
    (("no", "one"), "nobody"),
    (("any", "one"), "anyone"),
    (("all", "together"), "altogether"),
    (("all", "told"), "altogether"),
    (("some", "one"), "someone"),
    (("any", "thing"), "anything"),
    (("close", "by"), "nearby"),
    (("as", "well", "as"), "and"),
    (("along", "with"), "and"),
    (("together", "with"), "and"),
    (("and", "also"), "and"),
    (("and", "then"), "and"),
)


def tokenize(text: str) -> list[str]:
    """Words and the punctuation that separates clauses.

    >>> tokenize("What's the left-hand dog’s colour?")
    ['what', 'is', 'the', 'left', 'dog', "'s", 'color', '?']
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("‘", "'").replace("`", "'")
    for pattern, replacement in _CONTRACTIONS:
        text = re.sub(pattern, replacement, text)
    text = re.sub(r"(?<=\w)s'(?=\s)", "s 's", text)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)  # 1,000
    text = re.sub(r"\s+[-–—]+\s+", ", ", text)
    text = re.sub(r"\b(\w+)'s(?= (?:are|were|do|have)\b)", r"\1s", text)  # a plural, as some spell it
    text = text.replace("%", " % ")
    # "Left-handed" is said of a person, not of the picture; "red-haired" is not red.
    text = re.sub(r"\b(\w+)-(?!red\b)(\w+(?:ed|ing))\b", r"\1\2", text)
    tokens: list[str] = re.findall(r"'s\b|[^\W_]+|[,;:?.!&+=%]", re.sub(r"(?<=\w)[-/_](?=\w)", " ", text))
    tokens = [
        token
        for k, token in enumerate(tokens)
        if token != "'s" or (k + 1 < len(tokens) and tokens[k + 1] not in "?.!,")
    ]
    return _rewrite(_rewrite([_SPELLINGS.get(token, token) for token in tokens], _JOINED_BY_FIRST), _PLAINER_BY_FIRST)


_Rules = dict[str, list[tuple[list[str], list[str]]]]


def _by_first(pairs: Iterable[tuple[list[str], list[str]]]) -> _Rules:
    rules: _Rules = {}
    for old, new in pairs:
        rules.setdefault(old[0], []).append((old, new))
    return rules


_JOINED_BY_FIRST = _by_first((list(parts), [whole]) for parts, whole in _JOINED)
_PLAINER_BY_FIRST = _by_first((old.split(), new.split()) for old, new in _PLAINER)


def _rewrite(tokens: list[str], rules: _Rules) -> list[str]:
    """Replace every phrase by its plainer one, from left to right; the first rule that fits is taken."""
    result: list[str] = []
    i = 0
    while i < len(tokens):
        fits = ((old, new) for old, new in rules.get(tokens[i], ()) if tokens[i : i + len(old)] == old)
        old, new = next(fits, ([tokens[i]], [tokens[i]]))
        result += new
        i += len(old)
    return result
