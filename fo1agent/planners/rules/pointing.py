"""Productions for who operates a screen or edits a picture: where to click, and which pixels are a thing's."""

from __future__ import annotations

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.syntax import NounPhrase

_SHOW = w.phrases(
    "show me | show us | show | find me | find | display | what is | what are | what would be | what will be"
)
_GIVE = w.phrases(
    "give me | give us | give | get me | get | make me | make | create | generate | compute | return | i need | "
    "i want | i would like | draw me | draw | put | place | set | mark | add"
)
_GIVE_ME = w.phrases("give me | give us | give | get me | get | return | compute | tell me | output | i need | i want")
_ARTICLES = w.words("a an the one some me any")
# ---- points
_CLICK = w.phrases("click on | click | tap on | tap | press on | point to | point at | press")
_SELECT = w.phrases("select | choose | pick out | pick | touch")
_CLICK_THERE = (
    *_CLICK,
    *w.phrases("touch | aim at | aim | hit | put the cursor on | put the cursor | move the mouse to | move the mouse"),
)
_TO_HIT = w.phrases(
    "to select | to open | to choose | to pick | to hit | to reach | to touch | to touch on | to get at | to get to | "
    "to get | to see | to activate | to grab | to focus | to mark | to click on | to click | in order to select | "
    "if i want to select | if i want | for | inside | within"
)
_QUALITIES = w.words("good best better right exact precise single safe optimal ideal suitable")
_POINTS = w.phrases(
    "click point | click points | click position | click location | click coordinates | click target | "
    "pixel coordinates | x and y coordinates | x , y coordinates | x y coordinates | "
    "coordinates | coordinate | point coordinates | point | points"
)
_SPOTS = w.phrases("place | spot | position | location | pixel | area | part | dot")
_AT = w.words("of on in for inside at within over")
# ---- outlines
_OUTLINE = w.phrases(
    "segment out | segment | outline | cut out | trace the outline of | trace | mask out | mask off | mask | "
    "draw around | draw a line around | which pixels are in | which pixels are on | which pixels are of | "
    "which pixels are part of | which pixels are | which pixels belong to | which pixels show | which pixels make up | "
    "what pixels belong to | what pixels make up | what pixels are"
)
_OUTLINES = w.phrases("outline | outlines | contour | contours | segmentation mask | segmentation masks | segmentation")
_MASKS = w.phrases("mask | masks | silhouette | silhouettes | pixels | cutout | cutouts | binary mask | pixel mask")
_AROUND = w.words("of for around over")
# ---- boxes
_BOXES = w.phrases(
    "bounding box | bounding boxes | bounding rectangle | bbox | bboxes | box coordinates | box corners | "
    "corner coordinates"
)
_CROP = w.phrases("crop out | crop to | crop")
# ---- areas
_FILL = w.words("fill fills cover covers occupy occupies take takes have contain contains span spans")
_FILLED_BY = w.phrases(
    "in | inside | of | on | within | covered by | filled by | occupied by | taken up by | part of | needed for"
)
_ONE_WAY = w.words("wide high tall long broad across away apart")
_HOW_LARGE = w.phrases("how big is | how large is | how big are | how large are")
_AREA_OF = w.phrases("what is the size of | what is the surface of | what are the areas of | what are the sizes of")


_Kind = type[s.SegmentIt] | type[s.PointAt] | type[s.CornersOf]


def segment(p: Parser) -> list[s.Clause] | None:
    """ "Segment the dog.", "Outline the cars and the bus.", "Give me a mask of the cat."."""
    start = p.i
    found = _these(p, s.SegmentIt, again=True) if _outline_of(p) else None
    if found is None:
        p.i = start
        parted = p.take("cut", "mask") and p.tokens[-1] == "out"
        found = _before(p, len(p.tokens) - 1) if parted else None  # "cut the dog out"
    if found is None:
        p.i = start
        found = _these(p, s.SegmentIt) if p.take(*_OUTLINE) else None
    return found


def point(p: Parser) -> list[s.Clause] | None:
    """ "Point at the dog.", "Where do I click to select the dog?", "Give me a point on the dog."."""
    start = p.i
    for reads in (_point_on, _where_to_click, _which_to_click, _how_to_click, _click):
        p.i = start
        if reads(p):
            if reads is _where_to_click and p.at_end():  # "where do I click?"
                return [s.PointAt(NounPhrase("", definite=True, pronoun="it"))]
            return _these(p, s.PointAt, again=reads is _point_on)
    return None


def corners(p: Parser) -> list[s.Clause] | None:
    """ "Give me the bounding box of the dog.", "What is the box around the bus?", "Crop the bus."."""
    if p.take(*_CROP):
        return _these(p, s.CornersOf)
    if not (p.take(*_SHOW) or p.take(*_GIVE_ME)):
        return None
    while p.take_any(_ARTICLES | {"all", "exact"}):
        pass
    p.take("coordinates of the", "corners of the", "coordinates of")
    # "The box of apples" is a thing.
    if p.take(*_BOXES):
        p.take("coordinates", "corners")
        return _these(p, s.CornersOf, again=True) if p.take_any(_AROUND | {"in"}) else None
    return _these(p, s.CornersOf, again=True) if p.take("box around", "boxes around", "rectangle around") else None


def area(p: Parser) -> list[s.Clause] | None:
    """ "How many pixels does the cat fill?", "How big is the cat in pixels?"."""
    many = p.take("how many pixels")
    if many or p.take("how much space", "how much area"):
        if p.take_any(w.DO):
            return _filling(p)
        if many and (_is_filled_by(p) or p.take("belong to", "make up")):
            return _these(p, s.SegmentIt)
        return None
    bare = p.take("what is the pixel area of", "what are the pixel areas of", "what is the area of")
    if not bare and not p.take(*_HOW_LARGE, *_AREA_OF):
        return None
    things = p.things(("and",), conditions=False)
    if things is None or not (p.take("in pixels", "in square pixels", "measured in pixels") or bare):
        return None
    return _each(p, s.SegmentIt, things)


def _filling(p: Parser) -> list[s.Clause] | None:
    """ "(how many pixels does) the cat fill": the verb behind the things is none of their words."""
    verbs = [k for k in range(p.i + 1, len(p.tokens)) if p.tokens[k] in _FILL]
    found = _before(p, verbs[-1]) if verbs else None
    p.take("up")
    return found


def _before(p: Parser, at: int) -> list[s.Clause] | None:
    """The things that stand before a word; it is read with them."""
    things = Parser(p.tokens[p.i : at], p.lenient)
    found = _these(things, s.SegmentIt)
    if found is None or not things.at_end():
        return None
    p.i = at + 1
    return found


def _is_filled_by(p: Parser) -> bool:
    """Read "(how many pixels) are in", "are there in", "is"; not "is the dog wide"."""
    if not p.take_any(w.BE):
        return False
    p.take("there")
    return p.take(*_FILLED_BY) or (p.now in w.DETERMINERS and p.tokens[-1] not in _ONE_WAY)


# ---- what stands before the things -----------------------------------------------------------------------------------


def _outline_of(p: Parser) -> bool:
    """Read "(give me) the outline of", "(draw) a mask around"; "(show me) the mask of" is what somebody wears."""
    shown = p.take(*_SHOW)
    given = not shown and p.take(*_GIVE)
    made = given or (shown and p.now == "a")
    while p.take_any(_ARTICLES):
        pass
    return (p.take(*_OUTLINES) or (made and p.take(*_MASKS))) and bool(p.take_any(_AROUND))


def _point_on(p: Parser) -> bool:
    """Read "(give me) a point on", "(what are) the coordinates of", "the best place to click for"."""
    given = not p.take(*_SHOW) and p.take(*_GIVE)
    while p.take_any(_ARTICLES | _QUALITIES):
        pass
    if p.take(*_POINTS) or (given and p.take("dot", "dots")):
        return _clicks(p) or bool(p.take_any(_AT))
    return p.take(*_SPOTS) and _clicks(p)


def _where_to_click(p: Parser) -> bool:
    """Read "(show me) where do I click to select", "where is the best place to click for"."""
    p.take("show me", "show us")
    if not p.take("where", "whereabouts"):
        return False
    p.take("exactly")
    p.take("on the screen", "on screen")
    p.scope()
    if p.take_any(w.BE):
        return _point_on(p)
    return _clicks(p)


def _which_to_click(p: Parser) -> bool:
    """Read "which point should I click to select", "what do I click for"; what is to be hit must follow."""
    p.take("at", "on")
    if not p.take("which", "what"):
        return False
    p.take(*_POINTS, *_SPOTS)
    return _clicks(p, aims=True)


def _click(p: Parser) -> bool:
    """Read "click on", "point to where"."""
    clicks = p.take(*_CLICK, *_SELECT)
    p.take("where")
    return clicks and p.now not in ("up", "between")


def _how_to_click(p: Parser) -> bool:
    """Read "how do I click on"."""
    return p.take("how") and _clicks(p)


def _clicks(p: Parser, aims: bool = False) -> bool:
    """Read "(where) I should click to select", "to click for"."""
    start = p.i
    p.take("that", "where", "which", "at which")
    asked = p.take_any(w.MODAL | w.DO) and p.take_any(w.PEOPLE_PRONOUNS)
    told = not asked and p.take_any(w.PEOPLE_PRONOUNS) and p.take_any(w.MODAL)
    have = (asked or told) and (p.take("have to", "need to", "best") or True)
    if not (have or p.take("to")) or not p.take(*_CLICK_THERE):
        p.i = start
        return False
    to_hit = p.take(*_TO_HIT)
    p.take(*_CLICK)
    return to_hit or not aims


# ---- the things ------------------------------------------------------------------------------------------------------


def _these(p: Parser, kind: _Kind, again: bool = False) -> list[s.Clause] | None:
    """The things that follow, a clause for each.

    Args:
        again: whether "(a point on the cat) and one on the couch" speaks of another point.
    """
    if again:
        rest = Parser(_said_once(p.tokens[p.i :]), p.lenient)
        found = _these(rest, kind)
        p.i = len(p.tokens) if found and rest.at_end() else p.i
        return found
    things = p.things(("and", "or", "plus", "&"))
    return None if things is None else _each(p, kind, things)


def _said_once(tokens: list[str]) -> list[str]:
    """ "the cat and (one on) the couch", "the cat, (a point on) the couch"."""
    kept: list[str] = []
    ahead = Parser(tokens)
    while ahead.now:
        kept.append(ahead.now)
        ahead.i += 1
        if kept[-1] in ("and", ",", "or"):
            ahead.attempt(lambda: _another(ahead) or None)
    return kept


def _another(p: Parser) -> bool:
    """Read "one on", "another point for", "a mask of"."""
    article = p.take_any(("a", "an", "one", "another"))
    p.take(*_POINTS, *_OUTLINES, *_MASKS)
    return bool(article) and bool(p.take_any(_AT | _AROUND))


def _each(p: Parser, kind: _Kind, things: list[NounPhrase]) -> list[s.Clause] | None:
    found = p.bag(things)
    if not found or not all(map(_may_be_hit, found)):
        return None
    # "Click on the dog and describe": the second is no thing.
    if any(not thing.definite and thing.noun.split(" ")[0] in w.QUESTION_START for thing in found[1:]):
        return None
    return [kind(thing) for thing in found]


def _may_be_hit(thing: NounPhrase) -> bool:
    vague = thing.quantity is not None and thing.quantity.share in ("most", "half")
    return not (thing.negative or vague or thing.noun in w.PICTURE)
