"""Small pieces of English sentences."""

from __future__ import annotations

from fo1agent.words import lexicon


def listed(parts: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def with_article(noun: str) -> str:
    """ "a bus", "an orange"; plurals stay without."""
    if lexicon.is_plural(noun):
        return noun
    return ("an " if noun[:1].lower() in "aeio" or noun.lower().startswith("umbrella") else "a ") + noun
