"""Productions about text in the picture: what is written where."""

from __future__ import annotations

from fo1agent.agent.planners.rules import syntax as s
from fo1agent.agent.planners.rules import words as w
from fo1agent.agent.planners.rules.placing import Placing
from fo1agent.agent.planners.rules.syntax import NounPhrase

_ALL_OVER = w.phrases(
    "on the side of | on the front of | on the back of | across | along | upon | of | at | on top of | from | all "
    "over | over | on the surface of"
)


class Reading(Placing):
    """What does it say, what is written on it, read it."""

    def _read(self) -> s.Clause | None:
        if self.take("read", "transcribe", "read out", "spell out"):
            self.take("me", "us", "for me")
            self.take("out loud", "aloud", "out")
            self.take("to me", "for me")
            if self.at_end():
                return s.ReadText()
            if self.take("what is", "what it says", "whatever is"):
                self.take_any(w.WRITTEN)
            thing = self.noun_phrase()
            if thing is not None:
                return self._text_of(thing)
            return self._written_at()
        if not self.take("what", "which"):
            return None
        start = self.i
        if self.take_any(w.BE | w.MODAL | w.DO | w.HAVE):
            self.take("it that is", "been", "be", "the thing")
            if self.take_any(w.WRITTEN | {"displayed", "spelled"}) and self.tokens[self.i - 1] in w.WRITTEN:
                return self._written_at()
            self.i = start
        # "what does the sign say", "what the sign says"
        self.take_any(w.DO)
        thing = self.noun_phrase()
        if thing is not None and self.take_any(
            ("say", "says", "read", "reads", "state", "states", "spell", "spells", "saying")
        ):
            self.take("on it", "out", "on them")
            found = self._text_of(thing)
            if self.now:
                if thing.pronoun:  # "what does it say on the bus"
                    return self._written_at()
                relation = self.relation()
                if relation is None or relation.to is None:
                    return None
                found = self._text_of(thing.at(relation))
            return found
        # "what can you read on the sign", "what words are on the bus", "what is the text on the bus"
        self.i = start
        self.take_any(w.MODAL | w.DO)
        if self.take("you", "i", "we", "one") and self.take("read"):
            return self._written_at()
        self.i = start
        self.take_any(w.BE)
        self.take_any(w.DETERMINERS)
        self.take_any(("visible", "written", "printed", "actual", "exact"))
        word = self.take_any(w.TEXT_NOUNS)
        if word or (
            self.now in ("number", "name", "numbers", "words") and self.peek(1) != "of" and self.take_any((self.now,))
        ):
            while self.take_any(
                w.AUXILIARY | w.WRITTEN | w.SHOWN | w.APPEAR | w.PEOPLE_PRONOUNS | w.SEE | {"there", "that"}
            ):
                pass
            self.take("read")
            return self._written_at()
        return None

    def _written_at(self) -> s.Clause | None:
        """Read where the text is: "on the bus", "next to the bus", or nowhere in particular."""
        while self.take_any(w.FILLER) or self.scope() or self.take("down"):
            pass
        if not self.now:
            return s.ReadText()
        if self.take(*_ALL_OVER):
            thing = self.noun_phrase()
            return None if thing is None else self._text_of(thing)
        relation = self.relation()
        if relation is None or relation.to is None:
            return None
        if relation.name in ("on", "inside", "overlaps"):
            return self._text_of(relation.to)
        return s.ReadText(relation.to, relation.name)

    def _text_of(self, thing: NounPhrase) -> s.Clause:
        """The text on a thing; a bearer of text ("its sign", "the sign on the bus") is read where it is."""
        noun = thing.noun.rsplit(" ", 1)[-1]
        bears = noun in w.BEARERS and thing.noun not in ("stop sign",)
        if not bears and noun not in w.TEXT_NOUNS:
            return s.ReadText(thing)
        bearer = noun if bears else ""
        if thing.owner is not None:
            return s.ReadText(thing.owner, bearer=bearer)
        if thing.relations and thing.relations[0].to is not None:
            where = thing.relations[0]
            if where.name in ("on", "inside", "overlaps"):
                return s.ReadText(where.to, bearer=bearer)
            return s.ReadText(where.to, where.name, bearer)
        return s.ReadText(thing, bearer=bearer) if bears else s.ReadText()
