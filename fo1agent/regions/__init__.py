"""Boxes and regions, and where they are to each other."""
