"""What a training checkpoint holds beside the weights is kept or named, never lost in silence."""

from __future__ import annotations

import math
from pathlib import Path

import torch

import dsbridge as dsb
from dsbridge.checkpoint.sidecar import read_sidecar, sidecar_path


def convert(source: Path, target: Path, **options):
    return dsb.checkpoint.convert(source, target, progress=False, **options)


def test_plain_values_go_to_the_sidecar_and_the_rest_is_named(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.save(
        {
            "state_dict": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epoch": 4,
            "global_step": 1234,
            "best": math.inf,
            "rate": 0.1,
            "hyper_parameters": {"width": [64, 128], "name": "net", "drop": None},
        },
        tmp_path / "a.ckpt",
    )
    report = convert(tmp_path / "a.ckpt", tmp_path / "b.safetensors")
    state = read_sidecar(sidecar_path(tmp_path / "b.safetensors"))
    assert (state.epoch, state.step) == (4, 1234)
    assert state.extra["best"] == math.inf and state.extra["rate"] == 0.1
    assert state.extra["hyper_parameters"] == {"width": [64, 128], "name": "net", "drop": None}
    assert state.extra["optimizer"]["param_groups"][0]["betas"] == [0.9, 0.999]
    said = {finding.code: finding for finding in report}
    assert "6 in optimizer" in said["not-carried"].message and "convert_optimizer" in said["not-carried"].hint
    assert said["training-state"].message == "kept in b.safetensors.training.json"
    assert dsb.checkpoint.inspect(tmp_path / "b.safetensors").tensors[0].name == "weight"


def test_weights_alone_make_no_sidecar_and_an_old_one_is_told(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "a.pth")
    report = convert(tmp_path / "a.pth", tmp_path / "b.ckpt")
    assert not sidecar_path(tmp_path / "b.ckpt").exists() and not len(report)
    torch.save({"model": torch.nn.Linear(2, 3).state_dict(), "epoch": 1}, tmp_path / "c.pth")
    convert(tmp_path / "c.pth", tmp_path / "b.ckpt")
    assert "old-training-state" in convert(tmp_path / "a.pth", tmp_path / "b.ckpt")
    assert read_sidecar(sidecar_path(tmp_path / "b.ckpt")).epoch == 1


def test_the_other_weights_of_two_are_named(tmp_path: Path) -> None:
    weights = torch.nn.Linear(2, 3).state_dict()
    torch.save({"model": weights, "model_ema": weights, "epoch": 2}, tmp_path / "a.pth")
    report = convert(tmp_path / "a.pth", tmp_path / "b.ckpt", key="model_ema")
    assert "2 in model" in str(report) and read_sidecar(sidecar_path(tmp_path / "b.ckpt")).epoch == 2


def test_what_json_cannot_say_is_named_though_the_weights_are_written(tmp_path: Path) -> None:
    torch.save({"model": {"w": torch.ones(2)}, "names": {1: "a", "1": "b"}, "odd": {"$float": 3}}, tmp_path / "a.pth")
    report = convert(tmp_path / "a.pth", tmp_path / "b.ckpt")
    said = str(report)
    assert "names.1" in said or "1 in names" in said
    assert "cannot be written" in said and "$float" in said and not sidecar_path(tmp_path / "b.ckpt").exists()
    assert dsb.checkpoint.inspect(tmp_path / "b.ckpt").tensors[0].name == "w"
