"""The run folder: whole files only, the newest few, and no mixing of two runs."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fo1agent.errors import CheckpointError, TrainingError
from fo1agent.trainers.checkpoint import Meter, RunFolder
from fo1agent.trainers.checkpoint_files import check_state, trained_state


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def stepped(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    return optimizer


def test_trained_state_leaves_frozen_parameters_out_and_keeps_buffers():
    model = small_model()
    model[0].requires_grad_(False)
    names = set(trained_state(model))
    assert names == {"1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"} | {
        "2.weight",
        "2.bias",
    }


def test_tied_parameters_are_saved_once(tmp_path):
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert list(trained_state(model)) == ["0.weight"]
    optimizer = stepped(model)
    was = first.weight.detach().clone()
    RunFolder(tmp_path).save(1, model, optimizer, [], Meter(), keep_last=1)
    with torch.no_grad():
        first.weight.zero_()
    RunFolder(tmp_path).restore(model, optimizer, [])
    assert torch.equal(model.state_dict()["1.weight"], was)


def test_a_checkpoint_of_another_model_names_the_keys():
    with pytest.raises(CheckpointError, match=r"2\.weight"):
        check_state(small_model(), trained_state(small_model()[:2]))


def test_save_and_restore_bring_everything_back(tmp_path):
    model = small_model()
    optimizer = stepped(model)
    average = [torch.full((2, 2), 0.5)]
    meter = Meter({"loss": 3.0}, {"loss": 2})
    RunFolder(tmp_path).save(7, model, optimizer, average, meter, keep_last=2)

    other = small_model()
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.1)
    other_average = [torch.zeros(2, 2)]
    step, found = RunFolder(tmp_path).restore(other, other_optimizer, other_average)
    assert (step, found) == (7, meter)
    torch.testing.assert_close(dict(other.state_dict()), dict(model.state_dict()), rtol=0, atol=0)
    assert torch.equal(other_average[0], average[0])
    for a, b in zip(optimizer.state.values(), other_optimizer.state.values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    model = small_model()
    optimizer = stepped(model)
    folder = RunFolder(tmp_path)
    for step in (5, 10, 15, 20):
        folder.save(step, model, optimizer, [], Meter(), keep_last=2)
    assert [p.name for p in folder.all_checkpoints()] == ["step_00000015", "step_00000020"]


def test_a_torn_checkpoint_is_never_seen(tmp_path, monkeypatch):
    model = small_model()
    optimizer = stepped(model)
    folder = RunFolder(tmp_path)
    folder.save(5, model, optimizer, [], Meter(), keep_last=2)

    def power_cut(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", power_cut)
    with pytest.raises(TrainingError, match=r"Cannot write .*step_00000010: no space left.*free there.*make room"):
        folder.save(10, model, optimizer, [], Meter(), keep_last=2)
    monkeypatch.undo()
    assert [p.name for p in folder.checkpoints.iterdir()] == ["step_00000005"]


def test_what_a_killed_run_left_half_written_is_swept_away(tmp_path):
    folder = RunFolder(tmp_path)
    (folder.checkpoints / ".tmp-step_00000005").mkdir()
    (tmp_path / ".tmp-weights.safetensors").touch()
    assert RunFolder(tmp_path).all_checkpoints() == []
    assert len(list(tmp_path.rglob(".tmp-*"))) == 2  # whoever only reads leaves all as it is
    with RunFolder(tmp_path).held():
        assert sorted(p.name for p in tmp_path.rglob("*")) == ["checkpoints", "run.lock"]


def test_a_folder_of_another_run_is_refused_and_named(tmp_path):
    folder = RunFolder(tmp_path)
    folder.record_run("s", {"lr": 0.1, "keep_last": 2}, {"data": {"flip": 0.5}}, {"head": 3})
    folder.record_run("s", {"lr": 0.1, "keep_last": 5}, {"data": {"flip": 0.5}}, {"head": 3})  # bookkeeping may change
    with pytest.raises(TrainingError, match=r"settings\.lr: 0\.1 before, 0\.2 now"):
        folder.record_run("s", {"lr": 0.2, "keep_last": 2}, {"data": {"flip": 0.5}}, {"head": 3})
    with pytest.raises(TrainingError, match=r"recipe\.data\.flip"):
        folder.record_run("s", {"lr": 0.1, "keep_last": 2}, {"data": {"flip": 0.0}}, {"head": 3})


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path):
    folder = RunFolder(tmp_path)
    model = small_model()
    folder.save(2, model, stepped(model), [], Meter(), keep_last=1)
    for step in (1, 2, 3):
        folder.log({"step": step}, None)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    RunFolder(tmp_path).restore(model, torch.optim.AdamW(model.parameters()), [])
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2]


def test_weights_are_safetensors_with_the_rights_of_any_new_file(tmp_path):
    path = RunFolder(tmp_path).write_weights(trained_state(small_model()))
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
    assert set(load_file(path)) == set(small_model().state_dict())


def test_a_run_folder_that_cannot_be_made_is_a_typed_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="Cannot make the run folder"):
        RunFolder(tmp_path / "file" / "run")
