"""Question text to tokens: lower case, contractions written out, hyphens opened, one spelling for each word."""

from __future__ import annotations

import re
import unicodedata

_CONTRACTIONS = (
    (r"\bcan't\b", "can not"),
    (r"\bcannot\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"\bain't\b", "is not"),
    (r"\b(\w+)n't\b", r"\1 not"),
    (r"\b(what|who|where|there|how|that|it|here|which|he|she|when)'s\b", r"\1 is"),
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
    "whats": "what",
    "theres": "there",
}
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
    tokens = re.findall(r"'s\b|[a-z0-9à-öø-ÿ]+|[,;:?.!&+=]", re.sub(r"(?<=\w)[-/_](?=\w)", " ", text))
    return _join([_SPELLINGS.get(token, token) for token in tokens])


def _join(tokens: list[str]) -> list[str]:
    joined: list[str] = []
    i = 0
    while i < len(tokens):
        for parts, whole in _JOINED:
            if tuple(tokens[i : i + len(parts)]) == parts:
                joined.append(whole)
                i += len(parts)
                break
        else:
            joined.append(tokens[i])
            i += 1
    return joined
