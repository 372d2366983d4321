"""What is read in pictures: lines of text with their boxes."""

from __future__ import annotations

from dataclasses import dataclass

from fo1agent.regions.regions import Box
from fo1agent.untrusted import UntrustedText


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text.

    Attributes:
        text: as read; not empty.
        box: (x1, y1, x2, y2) around the line, pixels of the picture that was read.
        score: the recogniser's mean letter probability, 0 to 1.
        turn: how far the line is turned clockwise, degrees: 0, 90 (it runs down), 180 (upside down) or 270.
    """

    text: UntrustedText
    box: Box
    score: float
    turn: int = 0
