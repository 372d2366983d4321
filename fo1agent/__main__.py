"""`python -m fo1agent` is the `fo1agent` command."""

from fo1agent.cli.command import main

if __name__ == "__main__":
    main()
