"""Writes docs/benchmarks.md and its plots from docs/benchmarks/figures.json; measures these first where that is asked.

    python benchmarks/report.py [--measure] [--quick] [--into docs]

`make bench` measures: one script after the other, each a process of its own, in about 20 minutes of a CPU and 12 GB.
`--quick` measures a small model, in seconds, only to see that all runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measuring import processor
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fo1agent.evaluate import plots

HERE = Path(__file__).resolve().parent
RUNS: Mapping[str, Sequence[str]] = {"full_size": ("--pack",), "shares": ("--pack",), "growth": ()}
"""Script → its options. What it prints as JSON is kept under its name; one that is not there is left out."""

GROWTH = {"boxes": "boxes in the picture", "pixels": "pixels of the picture", "questions": "questions at once"}
UNITS = {"seconds": "CPU seconds", "mb": "MB above resting"}
STEEP = 1.05  # an exponent above is more than noise of a linear one

HEAD = """# Benchmarks at full size

<!-- Written by benchmarks/report.py from docs/benchmarks/figures.json: do not edit. -->
"""
INTRO = """
What a question costs with a model of the public 3B's widths, beside the same model run plainly in the reference's
order. Its weights are random, and it has fewer layers than the 3B, so that it fits into a small machine. Both ways
give the same answers, which a test holds.
"""
NOTES = """
Figures are CPU seconds of one thread. Other work on the machine lengthens them, all about alike: ratios within one
run hold where seconds do not. “plain” reads every prompt from its start, with logits at every place, brings all maps
to one size and pools them by torchvision; “ours” is what `fo1agent.load` runs, and “packed” what it runs with
`pack=True`.
"""
GROWS = """
The same model; first a question about a picture with more and more boxes or pixels, then more and more questions at
once about a picture that was read before. An exponent is the slope through the larger half of the points on
logarithmic axes: 1 is linear, as the dotted lines are. Pictures with a side of more than 2048 are shrunk to it, so
what they cost stays as it is. The 3B reads 100 boxes at once; here that limit is lifted.
"""
NANO = """
What the small model costs is measured by scripts of their own: a new process and a warm one by
[`instant.py`](../benchmarks/instant.py), a first and a second question by [`ask.py`](../benchmarks/ask.py), many at
once by [`many.py`](../benchmarks/many.py), a server by [`serve.py`](../benchmarks/serve.py). The figures stand in
[their README](../benchmarks/README.md), in [How it hangs together](architecture.md) and in [The server](serving.md).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure first, which takes minutes")
    parser.add_argument("--quick", action="store_true", help="with --measure: a small model, only whether it runs")
    parser.add_argument("--into", type=Path, default=HERE.parent / "docs", help="the folder of the page")
    options = parser.parse_args()
    folder = options.into / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "figures.json"
    if options.measure:
        for figures in measure(options.quick):
            kept.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    figures = json.loads(kept.read_text(encoding="utf-8"))
    (options.into / "benchmarks.md").write_text(page(figures), encoding="utf-8")
    for name, points in grown(figures):
        note = PngInfo()
        note.add_text("figures", digest(points))
        plot(name, points).quantize(64).save(folder / f"{name}.png", pnginfo=note, optimize=True)


# --- measuring ---------------------------------------------------------------------------------------------------


def measure(quick: bool) -> Iterator[dict[str, Any]]:
    """What the scripts print, and when, where and of what it was measured; after each script anew."""
    figures: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "torch": version("torch"),
        "commands": {},
    }
    for script, given in RUNS.items():
        if not (HERE / f"{script}.py").exists():
            continue
        command = [f"benchmarks/{script}.py", *given, *["--quick"] * quick]
        print("python", *command, file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, HERE / f"{script}.py", *command[1:], "--json"], stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            sys.exit(f"{command[0]} ended with {done.returncode}; what it said stands above.")
        figures["commands"][script] = " ".join(["python", *command])
        figures[script] = json.loads(done.stdout)
        yield figures


def commit() -> str:
    """The commit that is measured, and whether it was changed since."""

    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=HERE, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "../fo1agent", ".")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


# --- the page ----------------------------------------------------------------------------------------------------


def page(figures: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    commands = "\n".join(figures["commands"].values())
    parts = [
        HEAD,
        paragraph(INTRO),
        paragraph(
            f"Measured by `make bench` on {figures['date']}, commit {figures['commit']}: {figures['processor']}, one "
            f"thread of {figures['cores']} cores, torch {figures['torch']}, bfloat16. The commands are:"
        ),
        f"\n```\n{commands}\n```\n",
        paragraph(NOTES),
        *question(figures["full_size"]),
        *(shares(figures["shares"]) if "shares" in figures else ()),
        *memory(figures["growth"]),
        *growth(figures),
        "\n## fo1-nano\n",
        paragraph(NANO),
    ]
    return "".join(parts)


def question(found: Mapping[str, float]) -> Iterator[str]:
    """Questions, phrases and boxes, plainly and by us."""
    given = found["options"]
    yield "\n## A question\n"
    yield paragraph(
        f"{model(given)}. A picture of {given['size']}, {given['boxes']} boxes, {given['tokens']} tokens an answer, "
        f"{2 * given['tokens']} a caption."
    )
    plain = found["plain: a question"]
    ways = {way: _costs(found, way) for way in ("ours", "packed")}
    plainly = [plain, None, plain, 10 * plain, 10 * plain]
    plainly += [None] * (len(ways["ours"]) - len(plainly))
    rows = []
    for (what, ours), packed, one in zip(ways["ours"].items(), ways["packed"].values(), plainly, strict=True):
        times = ["", ""] if one is None else [f"{one / ours:.2f}", f"{one / packed:.2f}"]
        rows.append([what, "" if one is None else f"{one:.2f}", f"{ours:.2f}", f"{packed:.2f}", *times])
    yield table(["CPU seconds", "plain", "ours", "packed", "plain / ours", "plain / packed"], rows)
    alone, together = (found[f"packed: 16 captions {how}"] for how in ("one by one", "together"))
    ours = found["one by one / together, 16 captions"]
    yield paragraph(
        f"Captions together are {ours:.1f} times as fast as one by one, {alone / together:.1f} times when packed. A "
        f"second question costs {_second(ways['ours'])} of a first, {_second(ways['packed'])} when packed. The process "
        f"held {found['peak_gb']:.1f} GB at most."
    )


def _second(costs: Mapping[str, float]) -> str:
    return f"1/{costs['a first question'] / costs['a second question about it']:.1f}"


def _costs(found: Mapping[str, float], way: str) -> dict[str, float]:
    read, one, ten = (
        found[f"{way}: {what}"] for what in ("a picture read", "one question about it", "ten questions together")
    )
    others = {
        "a new phrase grounded": "a phrase grounded",
        "80 new phrases grounded together": "80 phrases grounded together",
        "one other box read": "one other box read",
        "16 captions together": "16 captions together",
        "16 captions one by one": "16 captions one by one",
    }
    return {
        "a first question": read + one,
        "of that, the picture read": read,
        "a second question about it": one,
        "ten questions, the picture read as well": read + ten,
        "ten questions about a picture read before": ten,
        **{told: found[f"{way}: {what}"] for told, what in others.items()},
    }


def shares(found: Mapping[str, Any]) -> Iterator[str]:
    """What share of the machine's peak each part reaches."""
    yield "\n## Shares of the machine's peak\n"
    yield paragraph(
        f"The same model, packed. What reads is held against the fastest matrix product of the same run, "
        f"{found['product_gflops']:.0f} GFLOP/s; what writes against what a copy reads and writes, "
        f"{found['copy_gb_a_second']:.0f} GB/s."
    )
    rows = [[name, f"{part['seconds']:.3f}", f"{part['share']:.0%}"] for name, part in found["parts"].items()]
    yield table(["part", "CPU seconds", "share"], rows)


def memory(found: Mapping[str, Any]) -> Iterator[str]:
    """Peaks at the largest picture that both ways saw, and what is kept of one."""
    plain = found["pixels"]["plain"][-1]
    ours = next(one for one in found["pixels"]["ours"] if one["at"] == plain["at"])
    side = round(plain["at"] ** 0.5)
    yield "\n## Memory\n"
    yield paragraph(
        f"{model(found['options'])}; depth adds weights, and for each layer what is kept of a picture. A first "
        f"question about {side}x{side} pixels and {found['options']['boxes']} boxes:"
    )
    rows = [
        ["resting", f"{found['resting_mb']:,.0f}", f"{found['resting_mb']:,.0f}", ""],
        ["peak above resting", f"{plain['mb']:,.0f}", f"{ours['mb']:,.0f}", f"{plain['mb'] / ours['mb']:.2f}"],
    ]
    yield table(["MB", "plain", "ours", "plain / ours"], rows)
    yield paragraph("Kept of a picture for later questions, at the 3B's 36 layers:")
    kept = {size: [*parts.values(), sum(parts.values())] for size, parts in found["kept"].items()}
    rows = [[size, *(f"{mb:.0f}" for mb in parts)] for size, parts in kept.items()]
    yield table(["MB", "keys and values", "all else", "together"], rows)


def growth(figures: Mapping[str, Any]) -> Iterator[str]:
    """By which power time and memory grow, with plots."""
    yield "\n## Growth\n"
    yield paragraph(GROWS)
    slopes = figures["growth"]["exponents"]
    rows = []
    for name, ways in slopes.items():
        each = [ways.get(way, {}).get(what) for what in ("time", "memory") for way in ("plain", "ours")]
        rows.append([GROWTH[name], *("" if one is None else f"{one + 0.0:.2f}" for one in each)])
    yield table(["exponent in", "time, plain", "time, ours", "memory, plain", "memory, ours"], rows)
    steep = [f"{what} in {name}" for name, ways in slopes.items() for what, one in ways["ours"].items() if one > STEEP]
    yield paragraph(f"Of ours, more than linear: {', '.join(steep) or 'nothing'}.")
    for name, _ in grown(figures):
        yield f"\n![CPU seconds and memory by {GROWTH[name]}](benchmarks/{name}.png)\n"


def model(given: Mapping[str, Any]) -> str:
    """How deep the model of a benchmark is."""
    return (
        f"{given['layers']} layers of the language model (of the 3B's 36), {given['blocks']} blocks of the vision "
        f"tower (of 32), {given['davit'] + 3} of DaViT (of 12)"
    )


def paragraph(text: str) -> str:
    """A paragraph in lines of at most 120 characters."""
    return f"\n{textwrap.fill(text.strip(), 120, break_long_words=False, break_on_hyphens=False)}\n"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


# --- plots -------------------------------------------------------------------------------------------------------


def grown(figures: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What was measured of each thing that grows: way → points."""
    for name in GROWTH:
        yield name, figures["growth"][name]


def digest(points: Mapping[str, Any]) -> str:
    """Of what a plot shows; the plot carries it, so that a test can tell whether it is the page's."""
    return hashlib.sha256(json.dumps(points, sort_keys=True).encode()).hexdigest()


def plot(name: str, points: Mapping[str, Sequence[Mapping[str, float]]]) -> Image.Image:
    """Time and memory side by side, on logarithmic axes."""
    figure = plots.empty(760, 300)
    for axes, (key, unit) in zip(figure.subplots(1, 2), UNITS.items(), strict=True):
        axes.set_prop_cycle(color=plots.COLORS)
        for way, seen in points.items():
            x, y = [one["at"] for one in seen], [one[key] for one in seen]
            axes.plot(x, y, "o-", markersize=3, label=way)
        x, y = ([one[field] for one in points["ours"]] for field in ("at", key))
        axes.plot(x, [y[0] * one / x[0] for one in x], ":", color=plots.FAINT, label="linear")
        axes.set(xscale="log", yscale="log", xlabel=GROWTH[name], ylabel=unit)
        axes.set_ylim(
            min(one[key] for one in points["ours"]) / 2, 2 * max(max(s[key] for s in w) for w in points.values())
        )
        axes.grid(color=plots.GRID)
    axes.legend(frameon=False)
    return plots.picture(figure)


if __name__ == "__main__":
    main()
