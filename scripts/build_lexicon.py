"""Build the packaged noun lexicon (`fo1agent/data/lexicon/nouns.npz`) from a WordNet 3.x `dict` folder.

Kept: noun lemmas, their senses in WordNet's order with the number of times each was tagged in a corpus, the hypernym
links, the lexicographer file of each synset and the irregular plurals. Left out: glosses, examples, every other
relation, and instances (people, places and other proper names).

    python scripts/build_lexicon.py /usr/share/wordnet

The folder is what the Debian package `wordnet-base`, or Princeton's `WNdb` archive, unpacks to.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parent.parent / "fo1agent" / "data" / "lexicon"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dict_folder", type=Path, help="folder with index.noun, data.noun, noun.exc and cntlist.rev")
    parser.add_argument("--out", type=Path, default=TARGET, help="where nouns.npz is written (default: the package)")
    options = parser.parse_args()
    arrays = build(options.dict_folder)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "nouns.npz"
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    print(f"{path}: {len(arrays['files'])} synsets, {path.stat().st_size / 1e6:.2f} MB")


def build(folder: Path) -> dict[str, np.ndarray]:
    """Read the dict folder; the arrays' meaning is documented in `fo1agent.words.lexicon`."""
    files, parents = _read_synsets(folder / "data.noun")
    number = {offset: i for i, offset in enumerate(files)}
    counts = _read_counts(folder / "cntlist.rev")

    lemmas, sense_starts, senses, sense_counts = [], [0], [], []
    for lemma, offsets in sorted(_read_index(folder / "index.noun").items()):
        kept = [(k, offset) for k, offset in enumerate(offsets, 1) if offset in number]
        if not kept:
            continue
        lemmas.append(lemma.encode())
        senses += [number[offset] for _, offset in kept]
        sense_counts += [min(counts.get((lemma, k), 0), 65535) for k, _ in kept]
        sense_starts.append(len(senses))

    parent_starts, flat_parents = [0], []
    for offset in files:
        flat_parents += [number[p] for p in parents[offset] if p in number]
        parent_starts.append(len(flat_parents))

    irregular = [line.split()[:2] for line in (folder / "noun.exc").read_text().splitlines() if line.strip()]
    return {
        "lemmas": np.frombuffer(b"\n".join(lemmas) + b"\n", dtype=np.uint8),
        "sense_starts": np.array(sense_starts, dtype=np.uint32),
        "senses": np.array(senses, dtype=np.uint32),
        "sense_counts": np.array(sense_counts, dtype=np.uint16),
        "parent_starts": np.array(parent_starts, dtype=np.uint32),
        "parents": np.array(flat_parents, dtype=np.uint32),
        "files": np.array(list(files.values()), dtype=np.uint8),
        "irregular": np.frombuffer("\n".join(f"{a} {b}" for a, b in irregular).encode(), dtype=np.uint8),
    }


def _read_synsets(path: Path) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Offset → lexicographer file number, and offset → offsets of its hypernyms; instances are left out."""
    files: dict[str, int] = {}
    parents: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):  # the licence at the top of every WordNet file
            continue
        fields = line.split(" | ")[0].split()
        words = int(fields[3], 16)
        at = 4 + 2 * words
        pointers = [fields[at + 1 + 4 * k : at + 5 + 4 * k] for k in range(int(fields[at]))]
        if any(symbol == "@i" for symbol, *_ in pointers):
            continue
        files[fields[0]] = int(fields[1])
        parents[fields[0]] = [target for symbol, target, pos, _ in pointers if symbol == "@" and pos == "n"]
    return files, parents


def _read_index(path: Path) -> dict[str, list[str]]:
    """Lemma (spaces for underscores) → synset offsets, most frequent sense first."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue
        fields = line.split()
        found[fields[0].replace("_", " ")] = fields[-int(fields[2]) :]
    return found


def _read_counts(path: Path) -> dict[tuple[str, int], int]:
    """(lemma, sense number) → how often that noun sense was tagged."""
    counts: dict[tuple[str, int], int] = defaultdict(int)
    for line in path.read_text(encoding="utf-8").splitlines():
        key, sense, count = line.split()
        lemma, _, rest = key.partition("%")
        if rest.startswith("1:"):
            counts[lemma.replace("_", " "), int(sense)] += int(count)
    return counts


if __name__ == "__main__":
    main()
