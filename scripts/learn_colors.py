"""Learn what `fo1agent.pictures.color` knows (`fo1agent/data/colors.json`) from captions that say a thing's colour.

    python scripts/learn_colors.py instances_train.json images/train captions_train.jsonl --folds 10

Learned are which word a pixel's colour gets, how much a pixel counts by where it lies and what surrounds the box, and
how much of a colour a person wants to see before naming it. It starts from words by hue, lightness and saturation
(`color_shares`) and a middle that counts no more than the rim, and is held near them, for a few hundred things are
little to learn from. `--folds` also learns without each tenth of the pictures and tells how often the colour that fits
best is one that is said there: the figure to choose by. Same input, same output, on one machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from colors import Thing, named_things  # noqa: E402  # pyright: ignore[reportMissingImports]

from fo1agent.pictures.color import _FAINT, _LOOKS_OF_WEIGHT, _lab, _looks, _name_pixels, box_pixels  # noqa: E402
from fo1agent.words.colors import COLORS  # noqa: E402

TARGET = ROOT / "fo1agent" / "data" / "colors.json"
HIDDEN = 16
PIXELS = 200  # of each box
SEEN = 100  # of them in each step
STEPS = 150
RATE = 0.01
WANTED = 1.2  # how much finding a colour that is said counts against naming one that is not: captions do not say all
RARE = 0.5  # power of how rare a colour is by which its things count more
# Plain colours keep their words, vivid ones and clear black, white and gray: few things are orange, and of white ones
# in the shade alone, gray would become white.
PLAIN = 0.5
VIVID = 1.0  # chroma by 40
# How strongly the words are held near where they start, per thing.
HELD = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instances", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--folds", type=int, default=0, help="parts of the pictures to leave out in turn; 0 for none")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    torch.set_num_threads(1)
    things = list(named_things(options.instances, options.images, options.captions))
    data = Data(things)
    start = Start(data)
    fits = left_out(data, things, start, options.folds) if options.folds else None
    learned = learn(data, start)
    report = {"things": len(things), "fitted": right(learned.fits(data), data.said)}
    odds = 1.0
    if fits is not None:
        odds, figures = choose_odds(fits, data.said)
        report |= {"left out": right(fits, data.said), **figures}
    options.out.write_text(json.dumps(learned.numbers(odds)) + "\n", encoding="utf-8")
    print(json.dumps(report))
    print(f"{options.out}: {options.out.stat().st_size} bytes")


class Data:
    """Pixels of all things: looks [T, P, 9], places [T, P, 5], the colours said [T, 11] bool, hard words [T, P]."""

    def __init__(self, things: Sequence[Thing]) -> None:
        rng = np.random.default_rng(0)
        looks, places = [], []
        for thing in things:
            look, place = box_pixels(thing.picture, thing.box)
            take = np.resize(rng.permutation(len(look)), PIXELS)
            looks.append(look[take])
            places.append(place[take])
        self.looks = torch.tensor(np.array(looks), dtype=torch.float32)
        self.places = torch.tensor(np.array(places), dtype=torch.float32)
        self.said = torch.tensor([[color in thing.colors for color in COLORS] for thing in things])

    def of(self, take: np.ndarray) -> Data:
        part = object.__new__(Data)
        index = torch.tensor(np.flatnonzero(take))
        part.looks, part.places, part.said = self.looks[index], self.places[index], self.said[index]
        return part


class Words(nn.Module):
    """As `fo1agent.pictures.color` computes it, for learning."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Sequential(nn.Linear(9, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, len(COLORS)))
        self.weight = nn.Parameter(torch.zeros(5 + len(_LOOKS_OF_WEIGHT)))
        self.scale = nn.Parameter(torch.full((len(COLORS),), 6.0))
        self.bias = nn.Parameter(torch.zeros(len(COLORS)))

    def forward(self, looks: Tensor, places: Tensor) -> Tensor:
        words = torch.softmax(self.words(looks), -1)
        weights = torch.softmax(torch.cat([places, looks[..., _LOOKS_OF_WEIGHT]], -1) @ self.weight, -1)
        shares = (words * weights[..., None]).sum(1)
        return (shares + _FAINT).sqrt() * self.scale + self.bias

    @torch.no_grad()
    def fits(self, data: Data) -> Tensor:
        return self(data.looks, data.places)

    def numbers(self, odds: float) -> dict[str, object]:
        first, last = self.words[0], self.words[2]
        named = {
            "hidden": first.weight.T,
            "hidden_bias": first.bias,
            "word": last.weight.T,
            "word_bias": last.bias,
            "weight": self.weight,
            "scale": self.scale,
            "bias": self.bias,
        }
        rounded = {name: np.round(value.detach().double().numpy(), 3).tolist() for name, value in named.items()}
        return {**rounded, "odds": round(odds, 3)}


class Start:
    """Where learning starts: `Words` that say of any colour what `color_shares` says."""

    def __init__(self, data: Data) -> None:
        torch.manual_seed(0)
        model = Words()
        any_looks, any_words = _any_colors()
        chroma, value = any_looks[:, 3], any_looks[:, 8]
        colorless = (chroma < 0.2) & ((value < 0.12) | (value > 0.93) | ((value > 0.35) & (value < 0.6)))
        plain = (chroma > VIVID) | colorless
        self.looks, self.words = any_looks[plain], any_words[plain]
        optimizer = torch.optim.Adam(model.words.parameters(), lr=0.02)
        for _ in range(400):
            optimizer.zero_grad()
            F.nll_loss(torch.log_softmax(model.words(any_looks), -1), any_words).backward()
            optimizer.step()
        self.state = {name: value.clone() for name, value in model.state_dict().items()}


def _any_colors() -> tuple[Tensor, Tensor]:
    """Looks [N, 9] and hard words [N] of colours of all kinds, many of them as dull as most are."""
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (12_000, 1, 3)).astype(np.float64)
    rgb[4_000:] = rgb[4_000:].mean(axis=2, keepdims=True) + (rgb[4_000:] - rgb[4_000:].mean(axis=2, keepdims=True)) / 3
    rgb[8_000:10_000] = rng.integers(0, 256, (2_000, 1, 1)) + rng.normal(0, 3, (2_000, 1, 3))
    pixels = np.clip(rgb, 0, 255).astype(np.uint8)[:, 0]
    looks = _looks(pixels.astype(np.float64), _lab(pixels.astype(np.float64)))
    return torch.tensor(looks, dtype=torch.float32), torch.tensor(_name_pixels(pixels))


def learn(data: Data, start: Start) -> Words:
    torch.manual_seed(0)
    model = Words()
    model.load_state_dict(start.state)
    weights = _weights(data.said)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        optimizer.zero_grad()
        take = torch.randperm(PIXELS)[:SEEN]
        probabilities = torch.log_softmax(model(data.looks[:, take], data.places[:, take]), 1)
        loss = -(weights * torch.logsumexp(probabilities.masked_fill(~data.said, -1e9), 1)).mean()
        held = [((v - start.state[name]) ** 2).sum() for name, v in model.named_parameters() if name != "weight"]
        some = torch.randint(len(start.looks), (1000,))
        plain = F.nll_loss(torch.log_softmax(model.words(start.looks[some]), -1), start.words[some])
        (loss + HELD / len(data.said) * torch.stack(held).sum() + PLAIN * plain).backward()
        optimizer.step()
    return model


def _weights(said: Tensor) -> Tensor:
    """[T] how much each thing counts, 1 on average: a quarter of these are white, and elsewhere need not be."""
    rare = said.sum(0).clamp(min=5) ** -RARE
    weights = (said * rare).sum(1) / said.sum(1)
    return weights / weights.mean()


def left_out(data: Data, things: Sequence[Thing], start: Start, folds: int) -> Tensor:
    """[T, 11] how each colour fits, for each thing by what is learned without its picture."""
    pictures = sorted({str(thing.id) for thing in things})
    part = dict(zip(pictures, np.random.default_rng(0).permutation(len(pictures)) % folds, strict=True))
    of = np.array([part[str(thing.id)] for thing in things])
    fits = torch.zeros(data.said.shape)
    for fold in range(folds):
        fits[torch.tensor(of == fold)] = learn(data.of(of != fold), start).fits(data.of(of == fold))
    return fits


def right(fits: Tensor, said: Tensor) -> float:
    return round(100 * said[torch.arange(len(said)), fits.argmax(1)].double().mean().item(), 1)


def choose_odds(fits: Tensor, said: Tensor) -> tuple[float, dict[str, float]]:
    """The power of the odds against the best colour, so that from a half on a colour is named: of all powers the one
    whose colours have the best F against those said."""
    below = fits - fits.max(1, keepdim=True).values
    figures = {}
    for least in np.arange(0.05, 4, 0.05):  # a colour at most this much below the best is named
        named = below >= -least
        both = (named & said).sum().item()
        precision, recall = both / named.sum().item(), both / said.sum().item()
        f = (1 + WANTED**2) * precision * recall / (WANTED**2 * precision + recall)
        figures[least] = (f, precision, recall)
    least = max(figures, key=lambda x: figures[x])
    f, precision, recall = (round(100 * x, 1) for x in figures[least])
    return float(np.log(2) / least), {"named f": f, "named precision": precision, "named recall": recall}


if __name__ == "__main__":
    main()
