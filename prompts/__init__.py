"""The words that FO1 was trained to be asked with, and the reading of what it answers; and what chat models are told.

One text file per task in `templates/`, those for chat models `agent_*`; `{}` stands for the argument (a noun, several
joined with `; `, a question, or region tokens such as `<region3>`). `reply.py` parses answers. Import this folder as
`fo1agent.prompts`.
"""

if __name__ != "fo1agent.prompts":
    raise ImportError(
        "Import this package as fo1agent.prompts, not as prompts: two names would load every module twice."
    )

from fo1agent.prompts.loader import names, render, template
from fo1agent.prompts.reply import Group, Reply, grounded, parse

__all__ = ["Group", "Reply", "grounded", "names", "parse", "render", "template"]
