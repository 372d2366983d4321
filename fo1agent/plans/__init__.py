"""The closed language of plans, as data and as lines of text."""
