"""The command line: `fo1agent`."""

try:
    from fo1agent.cli.command import main
except KeyboardInterrupt:  # as from the command itself, but it is not there yet
    raise SystemExit(130) from None

__all__ = ["main"]
