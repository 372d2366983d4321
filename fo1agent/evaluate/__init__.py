"""Measuring: `detection` (COCO metrics), `qa` (questions with known answers), `parity` (equality with a reference)."""
