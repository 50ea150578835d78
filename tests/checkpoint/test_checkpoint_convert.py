"""Files in, files out: torch -> MindSpore -> torch bit for bit, and what is refused leaves the target alone."""

from __future__ import annotations

import json
from pathlib import Path

import mindspore
import numpy as np
import pytest
import torch
from mindspore import nn

import dsbridge as dsb
from dsbridge import CheckpointError
from dsbridge.cli.main import main


def torch_net() -> torch.nn.Module:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv1d(3, 4, 3), torch.nn.BatchNorm1d(4), torch.nn.Flatten(), torch.nn.Linear(24, 5), torch.nn.LayerNorm(5)
    )
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
        else:
            assert "num_batches" in name
    return net


def mindspore_net() -> nn.Cell:
    conv = nn.Conv1d(3, 4, 3, pad_mode="valid", has_bias=True)
    return nn.SequentialCell(conv, nn.BatchNorm1d(4), nn.Flatten(), nn.Dense(24, 5), nn.LayerNorm((5,), epsilon=1e-5))


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_there_and_back(suffix: str, tmp_path: Path) -> None:
    """Every tensor equal in torch again; in between MindSpore's own loader reads it, and the outputs agree."""
    model, network = torch_net(), mindspore_net()
    there, between, back = tmp_path / "a.pth", tmp_path / f"b{suffix}", tmp_path / "c.pth"
    torch.save(model.state_dict(), there)
    report = dsb.checkpoint.convert(there, between, model=model, network=network, progress=False)
    assert report.ok and report.counts == {"transformed": 1, "exact": 3, "renamed": 6, "dropped": 1}
    kept = mindspore.load_checkpoint(str(between), format=suffix[1:])
    assert set(kept) == {parameter.name for parameter in network.get_parameters()}
    dsb.checkpoint.load(between, network)
    inputs = np.random.default_rng(0).normal(size=(4, 3, 8)).astype(np.float32)
    dsb.checkpoint.verify(model, network, inputs).raise_if_failed()
    dsb.checkpoint.convert(between, back, model=model, network=network, progress=False)
    again = torch.load(back, weights_only=True)
    assert list(again) and all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_every_dtype_both_hold(dtype: str, suffix: str, tmp_path: Path) -> None:
    """Bit for bit, NaN payloads and -0.0 included, without models: names stay."""
    kind = getattr(torch, dtype)
    bits = torch.randint(0, 256, (6 * kind.itemsize,), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    value = (bits % 2 if dtype == "bool" else bits).view(kind).reshape(2, 3)
    state = {"w": value, "scalar": value[0, 0].clone(), "t": value.t()}
    there, between, back = tmp_path / "a.pth", tmp_path / f"b{suffix}", tmp_path / "c.pth"
    torch.save(state, there)
    dsb.checkpoint.convert(there, between, progress=False)
    dsb.checkpoint.convert(between, back, progress=False)
    again = torch.load(back, weights_only=True)
    for name, one in state.items():
        assert again[name].shape == one.shape and again[name].dtype == one.dtype
        assert again[name].flatten().view(torch.uint8).equal(one.flatten().view(torch.uint8)), name


def test_what_is_refused_leaves_the_target_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "a.pth", tmp_path / "b.ckpt"
    torch.save({"0.weight": torch.rand(4, 3, 3), "extra": torch.rand(2)}, source)
    target.write_text("old")
    with pytest.raises(CheckpointError, match="cannot be converted") as caught:
        dsb.checkpoint.convert(source, target, model=torch_net(), network=mindspore_net(), progress=False)
    assert caught.value.missing and target.read_text() == "old"
    with pytest.raises(CheckpointError, match="no format is written to"):
        dsb.checkpoint.convert(source, tmp_path / "b.npz", progress=False)
    with pytest.raises(CheckpointError, match="inputs= is for running both models"):
        dsb.checkpoint.plan(source, inputs=[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", "b.ckpt"]


def test_command_line(tmp_path: Path, monkeypatch, capsys) -> None:
    """dsbridge convert: a dry run, the conversion, a refusal, nonsense."""
    (tmp_path / "mynets.py").write_text("from test_checkpoint_convert import mindspore_net, torch_net\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.save(torch_net().state_dict(), "a.pth")
    live = ["--model", "mynets:torch_net", "--network", "mynets:mindspore_net"]
    assert main(["convert", "a.pth", "b.ckpt", *live, "--dry-run"]) == 0
    assert "1.running_mean -> 1.moving_mean" in capsys.readouterr().out and not Path("b.ckpt").exists()
    assert main(["convert", "a.pth", "b.ckpt", *live, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["read_back"] is True
    assert main(["convert", "a.pth", "b.ckpt", "--network", "mynets:mindspore_net", "--model", "mynets:nothing"]) == 2
    torch.save({"x": torch.ones(1)}, "c.pth")
    assert main(["convert", "c.pth", "b.ckpt", *live]) == 1
    assert "cannot be converted" in capsys.readouterr().err


def test_dtypes_that_would_lose_bits_stop_or_are_kept(tmp_path: Path) -> None:
    model, network = torch.nn.Linear(2, 3).double(), nn.Dense(2, 3)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    live = {"model": model, "network": network, "progress": False}
    with pytest.raises(CheckpointError, match=r"2 lossy(.|\n)*dtypes='keep'"):
        dsb.checkpoint.convert(tmp_path / "a.pth", tmp_path / "b.safetensors", **live)
    dsb.checkpoint.convert(tmp_path / "a.pth", tmp_path / "b.safetensors", **live, dtypes="keep")
    assert {tensor.dtype for tensor in dsb.checkpoint.inspect(tmp_path / "b.safetensors").tensors} == {"float64"}
    assert dsb.checkpoint.compare(
        tmp_path / "a.pth", tmp_path / "b.safetensors", model=model, network=network, dtypes="keep"
    ).ok
    with pytest.raises(CheckpointError, match="dtypes='half'"):
        dsb.checkpoint.plan(tmp_path / "a.pth", dtypes="half")
