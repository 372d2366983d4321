"""Runs a notebook from top to bottom in a fresh kernel.

`python -m tests.notebooks examples/tour.ipynb` writes the outputs anew, without times and other traces of the run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient


def executed(path: Path, folder: Path) -> Any:
    """The notebook with new outputs, run in a folder."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    made = client.execute()
    for cell in made.cells:
        # What libraries say on stderr is not the notebook's: tqdm, for one, complains where ipywidgets is missing.
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return made


if __name__ == "__main__":
    made = executed(Path(sys.argv[1]), Path.cwd())
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(made)
    nbformat.write(made, sys.argv[1])
