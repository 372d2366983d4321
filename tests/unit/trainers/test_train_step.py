"""The engine: what a step does, what it leaves alone, and that stopping does not change a run."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fo1agent.errors import InputError, TrainingError
from fo1agent.trainers.checkpoint_files import trained_state
from fo1agent.trainers.step import TrainSettings, make_optimizer, share, train, train_only


class Lines(nn.Module):
    """A frozen body with dropout and batch norm, a trained neck with dropout, two trained heads."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.neck = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.3))
        self.heads = nn.ModuleList([nn.Linear(8, 1), nn.Linear(8, 1)])
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3

    def forward(self, x):
        return [head(self.neck(self.body(x))) for head in self.heads]


class LineStage:
    """Fits two lines; `spoil` makes one loss infinite at that step, `pause` slows each step down."""

    name = "lines"
    loss_weights = {"first": 1.0, "second": 0.5}  # noqa: RUF012 (a test's constant)

    def __init__(self, spoil: int | None = None, pause: float = 0.0) -> None:
        self.model = Lines()
        self.spoil, self.pause = spoil, pause

    def trainable(self):
        return {"neck": list(self.model.neck.parameters()), "heads": list(self.model.heads.parameters())}

    def batch(self, step, part=0, parts=1):
        time.sleep(self.pause)
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 4, generator=generator)[list(share(16, part, parts))]
        return step, x, x.sum(dim=1, keepdim=True)

    def counts(self, batch):
        return {"first": len(batch[1]), "second": len(batch[1])}

    def losses(self, batch):
        step, x, y = batch
        first, second = self.model(x)
        scale = float("inf") if step == self.spoil else 1.0
        return {"first": (first - y).square().sum() * scale, "second": (second + y).square().sum()}

    def evaluate(self):
        _, x, y = self.batch(10_000)
        return {"error": (self.model(x)[0] - y).square().mean().item()}


SETTINGS = TrainSettings(
    steps=40, lr=0.01, part_lr={"heads": 0.02}, warmup=4, ema=0.9, save_every=7, log_every=5, eval_every=10, seed=3
)


def curve(run_dir: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "steps_per_second"} for line in lines]


def test_training_learns_logs_and_leaves_weights(tmp_path):
    records = []
    result = train(LineStage(), SETTINGS, tmp_path, {"why": "test"}, records.append)
    steps = [r for r in records if "loss" in r]
    assert steps[-1]["loss"] < 0.75 * steps[0]["loss"]
    assert [r["step"] for r in steps] == [5, 10, 15, 20, 25, 30, 35, 40]
    assert set(steps[0]) == {"step", "loss", "first", "second", "grad_norm", "lr", "steps_per_second"}
    for r in steps:
        assert r["loss"] == pytest.approx(r["first"] + 0.5 * r["second"])
    assert [r["step"] for r in records if "metrics" in r] == [10, 20, 30, 40]
    assert result.metrics == records[-1]["metrics"]
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["parameters"] == {"neck": 72, "heads": 18, "frozen": 56}
    assert run["recipe"] == {"why": "test"}
    assert run["settings"]["seed"] == 3
    assert {"python", "torch", "fo1agent", "transformers"} <= set(run["versions"])
    assert (run["processes"], run["resumed"]) == (1, [])
    assert (tmp_path / "curves.png").exists()
    assert set(load_file(result.weights)) == set(trained_state(LineStage().model)) - {
        "body.0.weight",
        "body.0.bias",
    } - {
        "body.1.weight",
        "body.1.bias",
    }


def test_what_is_frozen_stays_bit_for_bit(tmp_path):
    stage = LineStage()
    before = {k: v.clone() for k, v in stage.model.body.state_dict().items()}
    train(stage, SETTINGS, tmp_path)
    for name, value in stage.model.body.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_frozen_modules_evaluate_and_trained_ones_train():
    stage = LineStage()
    train_only(stage.model, stage.trainable())
    modes = {name: module.training for name, module in stage.model.named_modules() if name}
    assert not any(modes[n] for n in ("body", "body.1", "body.2"))
    assert all(modes[n] for n in ("neck", "neck.1", "heads", "heads.0"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_resuming_equals_not_having_stopped(tmp_path, precision):
    settings = TrainSettings(steps=24, lr=0.01, warmup=3, ema=0.9, save_every=5, log_every=3, precision=precision)
    train(LineStage(), settings, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop(record):
        if record["step"] == 18:
            raise Stopped

    with pytest.raises(Stopped):
        train(LineStage(), settings, tmp_path / "halves", on_log=stop)
    torch.manual_seed(99)  # whatever happened to the global generators meanwhile does not matter
    result = train(LineStage(), settings, tmp_path / "halves")
    assert result.resumed_from == 15
    assert (tmp_path / "whole/weights.safetensors").read_bytes() == result.weights.read_bytes()
    assert curve(tmp_path / "whole") == curve(tmp_path / "halves")


def test_a_finished_run_is_not_run_again(tmp_path):
    first = train(LineStage(), SETTINGS, tmp_path)
    weights = first.weights.read_bytes()
    again = train(LineStage(), SETTINGS, tmp_path)
    assert (again.resumed_from, again.losses) == (40, {})
    assert again.weights.read_bytes() == weights


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    train(LineStage(), SETTINGS, tmp_path)
    with pytest.raises(TrainingError, match="steps: 40 before, 50 now"):
        train(LineStage(), TrainSettings(**{**vars(SETTINGS), "steps": 50}), tmp_path)


def test_a_loss_that_is_not_finite_stops_and_prints_each_term(tmp_path):
    with pytest.raises(
        TrainingError, match=r"Step 9: the loss is not finite; first = inf \(weight 1\), second = [\d.]+"
    ):
        train(LineStage(spoil=9), SETTINGS, tmp_path)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000007"]


def test_the_examples_of_a_spoilt_micro_batch_are_named(tmp_path):
    class Named(LineStage):
        def losses(self, batch):
            found = super().losses(batch[:3])
            return {**found, "second": found["second"] * (float("nan") if 9 in batch[3] else 1)}

        def batch(self, step, part=0, parts=1) -> Any:
            return *super().batch(step, part, parts), list(share(16, part, parts))

        def example_names(self, batch):
            return [f"picture {place}" for place in batch[3]]

    settings = TrainSettings(steps=3, lr=0.1, accumulate=4)
    with pytest.raises(TrainingError, match=r"second = nan.* It was learning from picture 8, .*picture 11\.$"):
        train(Named(), settings, tmp_path)


def test_other_data_in_the_same_folder_are_refused(tmp_path):
    class Known(LineStage):
        data = "one"

        def data_fingerprint(self):
            return self.data

    settings = TrainSettings(steps=1, lr=0.1)
    train(Known(), settings, tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["data"] == "one"
    stage = Known()
    stage.data = "two"
    with pytest.raises(TrainingError, match="data: 'one' before, 'two' now"):
        train(stage, settings, tmp_path)


def test_how_the_work_is_cut_may_change_between_halves_of_a_run(tmp_path):
    train(LineStage(), TrainSettings(steps=2, lr=0.1, accumulate=4), tmp_path)
    result = train(LineStage(), TrainSettings(steps=2, lr=0.1, recompute=True), tmp_path)
    assert result.resumed_from == 2


def test_a_loss_without_weight_is_an_error(tmp_path):
    stage = LineStage()
    stage.loss_weights = {"first": 1.0}
    with pytest.raises(TrainingError, match="second"):
        train(stage, SETTINGS, tmp_path)


def test_a_part_with_nothing_in_it_is_an_error(tmp_path):
    stage = LineStage()
    stage.trainable = lambda: {"neck": []}
    with pytest.raises(TrainingError, match=r"Nothing to train.*neck"):
        train(stage, SETTINGS, tmp_path)


def test_rates_rise_then_fall():
    settings = TrainSettings(steps=100, lr=1.0, warmup=10, final_lr=0.1)
    rates = [settings.rate(s) for s in range(100)]
    assert rates[0] == 0.1
    assert rates[9] == rates[10] == 1.0
    assert rates[99] == pytest.approx(0.1, abs=1e-2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert TrainSettings(steps=10, lr=1.0, schedule="linear").rate(5) == 0.5
    assert TrainSettings(steps=10, lr=1.0, schedule="constant").rate(9) == 1.0


def test_vectors_do_not_decay_and_parts_have_their_rates():
    stage = LineStage()
    groups = make_optimizer(stage.trainable(), SETTINGS).param_groups
    assert [(g["peak_lr"], g["weight_decay"]) for g in groups] == [(0.01, 0.01), (0.01, 0.0), (0.02, 0.01), (0.02, 0.0)]
    assert all(p.ndim < 2 for g in groups if g["weight_decay"] == 0 for p in g["params"])
    with pytest.raises(TrainingError, match="part_lr names"):
        make_optimizer({"neck": stage.trainable()["neck"]}, SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"ema": 1.0}, {"schedule": "step"}, {"precision": "float16"}],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        TrainSettings(**{"steps": 1, "lr": 0.1, **wrong})
