"""Measuring: `detection` (COCO metrics), `regions` (names of given boxes), `scores` (calibration and rankings),
`colors` (colour words), `qa` (questions with known answers), `parity` (equality with a reference)."""
