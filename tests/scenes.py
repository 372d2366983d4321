"""Three small pictures with everything in them known, for questions with known answers."""

from __future__ import annotations

from tests.labelled_scene import LabelledScene, Thing


def street() -> LabelledScene:
    """Two people and a dog left of a red bus, a car, a bicycle and two people right of it, signs above."""
    return LabelledScene(
        [
            Thing("person", (20, 200, 60, 330), 0.91),
            Thing("person", (90, 210, 130, 340), 0.88),
            Thing("person", (500, 220, 540, 350), 0.83),
            Thing("person", (560, 200, 610, 360), 0.92),
            Thing("bus", (200, 100, 400, 330), 0.94, ("red",), "CITY CENTRE 12"),
            Thing("car", (410, 250, 480, 320), 0.8, ("blue",)),
            Thing("car", (10, 260, 18, 300), 0.5, ("red",)),
            Thing("dog", (135, 300, 165, 340), 0.77),
            Thing("stop sign", (600, 60, 630, 90), 0.9, (), "STOP"),
            Thing("traffic light", (300, 10, 320, 60), 0.7),
            Thing("handbag", (95, 260, 110, 290), 0.6),
            Thing("bicycle", (485, 290, 560, 370), 0.66),
        ]
    )


def kitchen() -> LabelledScene:
    """A laid table between three chairs, a refrigerator on the left."""
    return LabelledScene(
        [
            Thing("refrigerator", (10, 60, 120, 400)),
            Thing("dining table", (200, 240, 520, 440)),
            Thing("chair", (130, 250, 195, 430), 0.7),
            Thing("chair", (530, 250, 600, 430), 0.8),
            Thing("chair", (380, 200, 450, 330), 0.6),
            Thing("cup", (240, 250, 270, 290), 0.9),
            Thing("cup", (440, 260, 470, 300), 0.7),
            Thing("bottle", (225, 170, 250, 280), 0.8),
            Thing("wine glass", (480, 230, 505, 290), 0.6),
            Thing("fork", (290, 280, 300, 330), 0.5),
            Thing("knife", (330, 280, 340, 330), 0.55),
            Thing("knife", (275, 280, 285, 320), 0.5),
            Thing("spoon", (350, 280, 360, 330), 0.5),
            Thing("bowl", (370, 290, 430, 340), 0.8),
            Thing("banana", (375, 300, 390, 320), 0.6),
            Thing("banana", (390, 300, 405, 320), 0.6),
            Thing("banana", (405, 300, 420, 320), 0.6),
            Thing("apple", (410, 320, 425, 335), 0.6),
        ]
    )


def park() -> LabelledScene:
    """Three children, one on a bench, two dogs, a frisbee, and a kite above everything."""
    return LabelledScene(
        [
            Thing("person", (60, 180, 110, 320), 0.95),
            Thing("person", (300, 200, 340, 340), 0.8),
            Thing("person", (500, 210, 540, 350), 0.7),
            Thing("bench", (40, 250, 160, 340), 0.9),
            Thing("dog", (220, 300, 270, 350), 0.9),
            Thing("dog", (400, 310, 450, 360), 0.8),
            Thing("frisbee", (280, 150, 300, 165), 0.7),
            Thing("kite", (350, 20, 420, 80), 0.8),
        ]
    )


SCENES = {"street": street, "kitchen": kitchen, "park": park}
