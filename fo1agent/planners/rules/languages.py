"""Tells that a question is not English, and which language it looks like, by its script and its commonest words."""

from __future__ import annotations

import re
import unicodedata


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that are frequent in questions of one language and none, or hardly ever, in English ones.
_KNOWN = {
    "German": _words(
        "wie viele ist der das die den dem ein eine einen gibt es sind wo was wer welche auf dem im bild hund hunde "
        "und "
        "nicht steht farbe links rechts neben von ich kannst du siehst"
    ),
    "French": _words(
        "combien de est sont le la les un une des il y sur dans où qui quoi quelle quel quels couleur avec pas que "
        "du au "
        "aux photo image chien voiture gauche droite"
    ),
    "Spanish": _words(
        "cuántos cuántas cuantos cuantas hay es son el los las una unos en dónde donde qué que quién cuál color del "
        "perro "
        "perros coche personas imagen izquierda derecha y"
    ),
    "Italian": _words(
        "quanti quante ci sono è il lo gli una di che chi dove cosa quale colore nella nel della del foto immagine "
        "cane "
        "persone sinistra destra"
    ),
    "Portuguese": _words(
        "quantos quantas há são os as uma um na da onde quem qual cor imagem foto cão cachorro pessoas esquerda "
        "direita quê"
    ),
    "Dutch": _words(
        "hoeveel zijn er het een waar wie welke kleur op van niet foto hond honden mensen links rechts staat"
    ),
    "Polish": _words("ile jest są na zdjęciu gdzie kto co jaki jaka kolor psów pies osób ludzi lewo prawo"),
    "Turkish": _words("kaç tane var mı bu resimde nerede kim ne hangi renk köpek insan sol sağ"),
    "Swedish": _words("hur många är det finns var vem vad vilken färg bilden på en ett hund människor vänster höger"),
}
_ENGLISH = _words(
    "how many much are is there the a an of to what which who where do does did you see can in on and or it they "
    "not any "
    "all this that picture count read describe tell me left right color colour people was has have"
)
# Begin a sentence in another language, and none in English: "und wie viele Autos?".
_AND = {"und": "German", "et": "French", "och": "Swedish", "ve": "Turkish", "y": "Spanish"}
_SCRIPTS = {
    **{"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean", "CYRILLIC": "Russian"},
    **{"ARABIC": "Arabic", "HEBREW": "Hebrew", "GREEK": "Greek", "DEVANAGARI": "Hindi", "THAI": "Thai"},
    **{"BENGALI": "Bengali", "TAMIL": "Tamil"},
}


def foreign(question: str) -> str:
    """The name of the language that a question looks to be in; "" for English, or where there is no telling.

    >>> foreign("Wie viele Hunde sind auf dem Bild?"), foreign("How many dogs are there?")
    ('German', '')
    """
    letters = [char for char in question if char.isalpha()]
    scripts = [_SCRIPTS[name] for char in letters if (name := unicodedata.name(char, "").split(" ")[0]) in _SCRIPTS]
    if scripts and len(scripts) * 2 > len(letters):
        return "Japanese" if "Japanese" in scripts else max(set(scripts), key=scripts.count)
    words = re.findall(r"[^\W\d_]+", question.lower())
    if words and words[0] in _AND:
        return _AND[words[0]]
    english = sum(word in _ENGLISH for word in words)
    counts = {name: sum(word in known for word in words) for name, known in _KNOWN.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] >= 2 and counts[best] > english and counts[best] * 3 >= len(words) else ""
