"""Gathers what the site is built from: `python docs/gather.py FOLDER`, which `make docs` runs.

On GitHub a page may link to any file of the repository; a site has only pages. So the pages that stand outside of docs/
are put beside those in it, the README as the front page, any other file that a page links to becomes a page that shows
it, and links are turned accordingly. A link that leads to no file is left as it is, and the build refuses it.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "SKILL.md": "skill.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
    "benchmarks/README.md": "benchmark-scripts.md",
    "fo1agent/data/nano/README.md": "model-card.md",
}
"""Pages that are not in docs/, and what they are called on the site."""

_LANGUAGES = {".py": "python", ".json": "json", ".yaml": "yaml"}
_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def gather(folder: Path) -> None:
    """Write the site's pages, and the files that they show, into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(REPO / "docs", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    pages = [path.relative_to(REPO).as_posix() for path in sorted((REPO / "docs").rglob("*.md"))]
    linked: set[str] = set()
    for path in (*pages, *OUTSIDE):
        text = (REPO / path).read_text(encoding="utf-8")
        text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # of SKILL.md
        parts = _FENCE.split(text)
        for k in range(0, len(parts), 2):
            linked |= {_meant(path, link) for link in _LINK.findall(parts[k])}
            parts[k] = _LINK.sub(lambda link, path=path: _turned(path, link[1]), parts[k])
        _write(folder / _place(path), "".join(parts))
    for path in sorted(linked):
        if (REPO / path).is_file() and not path.startswith("docs/") and path not in OUTSIDE:
            _write(folder / _place(path), _shown(path))


def _meant(path: str, link: str) -> str:
    """The file that a page's link means, from the repository's root; of a folder, its README."""
    meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return f"{meant}/README.md" if (REPO / meant).is_dir() else meant


def _turned(path: str, link: str) -> str:
    """The link from where the page stands on the site."""
    meant = _meant(path, link)
    return posixpath.relpath(_place(meant), posixpath.dirname(_place(path))) if (REPO / meant).is_file() else link


def _place(path: str) -> str:
    """Where a file of the repository stands on the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return OUTSIDE.get(path, f"source/{path}.md")


def _shown(path: str) -> str:
    """A page that shows a file."""
    language = _LANGUAGES.get(Path(path).suffix, "text")
    return f"# {path}\n\n````{language}\n{(REPO / path).read_text(encoding='utf-8').rstrip()}\n````\n"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    gather(Path(sys.argv[1]))
