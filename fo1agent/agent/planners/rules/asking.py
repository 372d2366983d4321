"""Productions that ask what something is or looks like."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.agent.planners.rules import syntax as s
from fo1agent.agent.planners.rules import words as w
from fo1agent.agent.planners.rules.reading import Reading
from fo1agent.agent.planners.rules.syntax import NounPhrase

_DESCRIBE = w.phrases(
    "what is happening | what is going on | what happens | caption | what is the picture of | "
    "what is the picture about | what is this picture of | what is this picture about | "
    "what is this a picture of | describe | summarize | summarise"
)
_IN_WHICH_WAY = w.phrases("for me | to me | briefly | in detail | what you see in | what is in | what you see")
_TELL_ABOUT = w.phrases(
    "tell me about | tell me something about | tell me more about | give me a description of | give me a caption "
    "of | give a description of | give me a caption for | give a caption for | write a caption for | write a "
    "description of | about"
)
_DOING = w.phrases(
    "doing | holding | wearing | eating | playing | made of | looking at | riding | carrying | called | do | "
    "drinking | watching | sitting on | standing on | playing with"
)


class Asking(Reading):
    """What, which, who; descriptions; questions only the model can answer."""

    def _describe(self) -> s.Clause | None:
        if self.take(*_DESCRIBE):
            if self.tokens[self.i - 1] not in ("describe", "caption", "summarize", "summarise"):
                return s.DescribeIt()
            self.take(*_IN_WHICH_WAY)
        elif self.take(*_TELL_ABOUT):
            pass
        elif self.take("what do", "what does", "what"):
            if self.attempt(self._picture_subject):
                if not self.take_any(w.SHOW) and not self.take("look like"):
                    return None
                return s.DescribeIt()
            thing = self.noun_phrase()
            if thing is not None and (self.take("look like") or self.take("looks like")):
                return s.DescribeIt(thing)
            return None
        else:
            return None
        start = self.i
        self.take_any(w.DETERMINERS)
        if not self.now or (self.take_any(w.PICTURE) and self.at_end()):
            return s.DescribeIt()
        self.i = start
        if self.at_end():
            return s.DescribeIt()
        thing = self.noun_phrase()
        if thing is None:
            return None
        return s.DescribeIt() if thing.pronoun in ("this", "that") and not thing.relations else s.DescribeIt(thing)

    def _aspect(self) -> s.Clause | None:
        """What only the model itself can answer: "What color is the car?", "What is the man doing?"."""
        question = " ".join(self.tokens[self.i :]).replace(" 's", "'s") + "?"
        if not self.take("what", "which"):
            return None
        if self.take("is the", "are the"):
            if self.take_any(w.ASPECTS) and self.take("of"):
                thing = self.noun_phrase()
                return None if thing is None or not thing.definite else s.AskAbout(thing, question)
            self.i -= 2
        aspect = self.take_any(w.ASPECTS)
        if aspect in ("kind", "type", "sort", "breed", "species", "make", "model", "brand") and self.take("of"):
            named = self.noun_phrase(relations=False)
            if named is None:
                return None
            self.take_any(w.BE)
            thing = self.noun_phrase()
            if thing is None:  # "what kind of animal is on the couch", "what kind of animals are there"
                found = self.bag([named])
                return s.WhatIs(found[0]) if found else None
            if thing.pronoun in ("this", "that", "it"):
                return s.WhatIs(named)
            return s.AskAbout(thing, question)
        verb = self.take_any(w.BE | w.DO)
        if not verb:
            return None
        thing = self.noun_phrase()
        if thing is None or not (thing.definite or thing.pronoun):
            return None
        if aspect:
            return s.AskAbout(thing, question) if self.at_end() else None
        doing = self.take(*_DOING)
        return s.AskAbout(thing, question) if doing and self.at_end() else None

    def _what(self) -> s.Clause | None:
        """ "What is to the left of the cat", "Which dog is nearest to the bus", "What can you see"."""
        who = self.now == "who"
        if self.take("list", "name", "enumerate", "identify"):
            self.take("all of", "everything")
            thing = self.noun_phrase() or NounPhrase("", plural=True)
            found = self.bag([thing])
            return s.WhatIs(found[0]) if found else None
        if not self.take_any(("what", "which", "who")):
            return None
        thing = NounPhrase("person") if who else NounPhrase("")
        self.take("of", "one of")
        if not who and (self.now in w.DETERMINERS or self._may_name(self.now)):
            named = self.noun_phrase(relations=False)
            if named is None:
                return None
            thing = replace(named, definite=False)
        done = s.WhereIs if who else s.WhatIs
        start = self.i
        self.take_any(w.BE)
        while self.take_any(w.STANCE | w.APPEAR):
            pass
        chosen = self.superlative(thing)
        if chosen is not None:
            found = self.bag([chosen])
            if found:
                return done(found[0])
        self.i = start
        if not thing.noun and self.take_any(w.BE) and not self.take("there"):
            asked = self.attempt(self._asked_thing)
            if asked is not None:
                return asked
        self.i = start
        found = self.bag([thing])
        if not found or (not found[0].relations and self.i == start):
            return None
        return done(found[0])

    def _asked_thing(self) -> s.Clause | None:
        """ "(what is) the largest object", "(what is) the thing to the left of the cat", "(what is) r's name"."""
        thing = self.noun_phrase()
        if thing is None or not self.at_end():
            return None
        if thing.order or thing.relations or not thing.noun:
            return s.WhatIs(thing) if not thing.pronoun or thing.relations else s.DescribeIt(thing)
        return s.DescribeIt(thing) if thing.definite else None
