"""fo1agent for other frameworks: its tools and its agent in the shapes that they take. Nothing is computed here."""
