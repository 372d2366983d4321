"""A plan run on a scene: steps, costs, the answer and its wording."""
