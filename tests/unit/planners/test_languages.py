"""Questions in other languages are told as such, and never answered by the half that looks like English."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fo1agent.agent import Agent
from fo1agent.planners.rules.languages import foreign
from tests.scenes import street

WORDINGS = [json.loads(line) for line in (Path(__file__).parents[2] / "data/phrasings.jsonl").read_text().splitlines()]

QUESTIONS = [
    ("German", "Wie viele Hunde gibt es?"),
    ("German", "Ist der Hund links neben dem Bus?"),
    ("German", "Welche Farbe hat der Bus auf dem Bild?"),
    ("German", "Was ist rechts von dem Auto?"),
    ("French", "Combien de chiens y a-t-il sur la photo ?"),
    ("French", "Où est le chien ?"),
    ("French", "Quelle est la couleur du bus ?"),
    ("Spanish", "¿Cuántos perros hay en la imagen?"),
    ("Spanish", "¿De qué color es el coche?"),
    ("Spanish", "¿Dónde está el perro?"),
    ("Italian", "Quanti cani ci sono?"),
    ("Italian", "Di che colore è la macchina?"),
    ("Portuguese", "Quantos cachorros há na imagem?"),
    ("Portuguese", "Onde está o cachorro na foto?"),
    ("Dutch", "Hoeveel honden zijn er op de foto?"),
    ("Polish", "Ile psów jest na zdjęciu?"),
    ("Turkish", "Bu resimde kaç köpek var?"),
    ("Swedish", "Hur många hundar är det?"),
    ("Japanese", "写真に犬は何匹いますか"),
    ("Chinese", "图片里有几只狗？"),
    ("Korean", "사진에 개가 몇 마리 있나요?"),
    ("Russian", "Сколько собак на картинке?"),
    ("Greek", "Πόσοι σκύλοι υπάρχουν;"),
    ("Arabic", "كم عدد الكلاب في الصورة؟"),
    ("Hebrew", "כמה כלבים יש בתמונה?"),
    ("Hindi", "तस्वीर में कितने कुत्ते हैं?"),
    ("Thai", "มีสุนัขกี่ตัวในภาพ"),
]


@pytest.mark.parametrize(("language", "question"), QUESTIONS, ids=[question for _, question in QUESTIONS])
def test_another_language_is_told_in_one_sentence(language: str, question: str) -> None:
    answer = Agent().ask(street(), question)
    assert answer.text == f"I only understand English, and this looks like {language}."
    assert answer.abstained
    assert answer.plan is None


@pytest.mark.parametrize(
    "question",
    [
        "Bus, Hund und Auto?",
        "Auto Bus",
        "Quel bus ?",
        "perro",
        "Hunde",
        "Is da een bus?",
        "Combien de people?",
        "Kolik psů je na obrázku?",
        "Hány kutya van a képen?",
        "Câți câini sunt?",
        "Montako koiraa kuvassa on?",
        "Có bao nhiêu con chó?",
        "How many 犬 are there?",
        "¿Hay un bus?",
        "Onde está o bus?",
        "Hvor mange hunde er der?",
        "Berapa banyak anjing?",
    ],
)
def test_what_is_not_english_is_never_half_answered(question: str) -> None:
    answer = Agent().ask(street(), question)
    assert answer.value is None, answer.text
    assert answer.abstained or answer.not_judged, answer.text


@pytest.mark.parametrize("question", ["How many красных cars are there?", "Is there a 赤い bus?", "犬 bus"])
def test_words_of_other_scripts_count_too(question: str) -> None:
    answer = Agent().ask(street(), question)
    assert answer.value is None, answer.text


def test_what_is_english_is_taken_for_nothing_else() -> None:
    assert [one["question"] for one in WORDINGS if foreign(one["question"])] == []


@pytest.mark.parametrize(
    "question",
    ["", "?", "bus", "café", "Is there a piñata?", "How many jalapeños?", "Where is Hans?", "A la carte"],
)
def test_few_or_borrowed_words_name_no_language(question: str) -> None:
    assert foreign(question) == ""


@pytest.mark.parametrize("question", ["Is there a dog? Ist da ein Bus?", "Is there a bus? 犬はいますか?"])
def test_a_question_that_is_half_in_another_language_is_not_answered_by_half(question: str) -> None:
    answer = Agent().ask(street(), question)
    assert answer.abstained
    assert answer.text.startswith("I only understand English")
