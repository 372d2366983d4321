"""A picture comes in: its intake and limits, its colours, its text, and drawing on it."""
