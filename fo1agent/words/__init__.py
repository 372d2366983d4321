"""Nouns and what they mean, phrases, colour words, and small pieces of English."""
