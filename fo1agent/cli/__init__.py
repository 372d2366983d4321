"""The command line: `fo1agent`."""

from fo1agent.cli.command import main

__all__ = ["main"]
