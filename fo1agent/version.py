"""The version, in the one place where it is said."""

__version__ = "0.1.0"
