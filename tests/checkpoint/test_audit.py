"""The audit says what makes outputs differ, by layer and setting, and nothing else; the frameworks' forwards are the judge."""

from __future__ import annotations

import itertools
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import mint, nn

from dsbridge.checkpoint.audit import audit
from dsbridge.checkpoint.pairing import pairs
from dsbridge.checkpoint.windows import Axis
from dsbridge.errors import CheckpointError
from dsbridge.frameworks.mindspore_tensors import from_numpy

NN = torch.nn


def found(module: Any, cell: Any, **options: Any) -> list[str]:
    return [f"{f.severity} {f.code}: {f.message}" for f in audit(module, cell, **options)]


def net(**layers: Any) -> Any:
    """A torch model or a MindSpore network with these layers, in one call each."""
    made: Any = NN.Module() if isinstance(next(iter(layers.values())), NN.Module) else nn.Cell()
    for name, layer in layers.items():
        setattr(made, name, layer)
    return made


def test_a_network_built_with_care_is_silent() -> None:
    """All settings spelt out, in MindSpore's words."""
    model = net(
        conv=NN.Conv2d(4, 6, (3, 5), 2, (1, 2), groups=2),
        conv1=NN.Conv1d(4, 4, 3, padding=1, dilation=1),
        conv3=NN.Conv3d(2, 2, 3, padding=1),
        point=NN.Conv2d(4, 4, 1, 2),
        up=NN.ConvTranspose2d(4, 4, 3, 2, 1),
        bn=NN.BatchNorm2d(4),
        bn3=NN.BatchNorm3d(4, momentum=0.3),
        ln=NN.LayerNorm(4),
        gn=NN.GroupNorm(2, 4),
        pool=NN.MaxPool2d(3, 2, 1, ceil_mode=True),
        mean=NN.AvgPool2d(2),
        act=NN.GELU(),
        tanh=NN.GELU("tanh"),
        leaky=NN.LeakyReLU(0.1),
        six=NN.Hardtanh(0, 6),
        drop=NN.Dropout(0.3),
        fc=NN.Linear(4, 4),
        emb=NN.Embedding(5, 4),
        lstm=NN.LSTM(4, 4, 2, bidirectional=True, dropout=0.1),
        att=NN.MultiheadAttention(4, 2, batch_first=True),
        enc=NN.TransformerEncoderLayer(4, 2, 8),
        softmax=NN.Softmax(-1),
        elu=NN.ELU(0.3),
        flat=NN.Flatten(),
        avg=NN.AdaptiveAvgPool2d(1),
        seq=NN.Sequential(NN.ReLU(), NN.Identity()),
    )
    network = net(
        conv=nn.Conv2d(4, 6, (3, 5), 2, "pad", (1, 1, 2, 2), group=2),
        conv1=nn.Conv1d(4, 4, 3, pad_mode="same"),
        conv3=nn.Conv3d(2, 2, 3, pad_mode="pad", padding=1),
        point=nn.Conv2d(4, 4, 1, 2),
        up=nn.Conv2dTranspose(4, 4, 3, 2, "pad", 1),
        bn=nn.BatchNorm2d(4),
        bn3=nn.BatchNorm3d(4, momentum=0.7),
        ln=nn.LayerNorm((4,), epsilon=1e-5),
        gn=nn.GroupNorm(2, 4),
        pool=nn.MaxPool2d(3, 2, "pad", 1, ceil_mode=True),
        mean=nn.AvgPool2d(2, 2),
        act=nn.GELU(approximate=False),
        tanh=nn.GELU(),
        leaky=nn.LeakyReLU(0.1),
        six=nn.ReLU6(),
        drop=nn.Dropout(keep_prob=0.7),
        fc=nn.Dense(4, 4),
        emb=nn.Embedding(5, 4),
        lstm=nn.LSTM(4, 4, 2, bidirectional=True, dropout=0.1),
        att=nn.MultiheadAttention(4, 2, batch_first=True),
        enc=nn.TransformerEncoderLayer(4, 2, 8),
        softmax=nn.Softmax(-1),
        elu=nn.ELU(0.3),
        flat=nn.Flatten(),
        avg=nn.AdaptiveAvgPool2d(1),
        seq=nn.SequentialCell(nn.ReLU(), nn.Identity()),
    )
    assert found(model, network) == []


@pytest.mark.parametrize(
    ("module", "cell", "message"),
    [
        (NN.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, "same"), "error padding: pad_mode 'same' vs padding=1 (at size 32)"),
        (NN.MaxPool2d(3), nn.MaxPool2d(3), "error stride: stride 1 vs 3"),
        (NN.Conv2d(3, 3, 3, 2, 1), nn.Conv2d(3, 3, 3, 2), "error padding: pad_mode 'same' vs padding=1 (at size 32)"),
        (
            NN.Conv2d(3, 3, 3),
            nn.Conv2d(3, 3, 3, pad_mode="pad", padding=2),
            "error padding: padding=2 vs padding=0 (at size 32)",
        ),
        (NN.Conv2d(3, 3, 3, dilation=2), nn.Conv2d(3, 3, 3, pad_mode="valid"), "error dilation: dilation 1 vs 2"),
        (NN.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 1), "error groups: groups 1 vs 2"),
        (
            NN.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
            nn.Conv2d(3, 3, 3),
            "error padding_mode: padding_mode 'zeros' vs 'reflect'",
        ),
        (
            NN.ConvTranspose2d(3, 3, 3, 2, 1, 1),
            nn.Conv2dTranspose(3, 3, 3, 2, "pad", 1, 1),
            "error output_padding: output_padding on the CPU fills with 0 vs output_padding=1",
        ),
        (NN.ConvTranspose2d(3, 3, 4, 2, 0), nn.Conv2dTranspose(3, 3, 4, 2, "pad", 1), "error padding: padding=1 vs padding=0"),
        (NN.BatchNorm2d(3), nn.BatchNorm2d(3, eps=1e-3), "error eps: eps 0.001 vs 1e-05"),
        (NN.BatchNorm3d(3), nn.BatchNorm3d(3, eps=1e-3), "error eps: eps 0.001 vs 1e-05"),
        (
            NN.BatchNorm2d(3, track_running_stats=False),
            nn.BatchNorm2d(3),
            "error statistics: use_batch_statistics False vs track_running_stats=False",
        ),
        (NN.LayerNorm(3), nn.LayerNorm((3,)), "error eps: eps 1e-07 vs 1e-05"),
        (NN.LayerNorm((2, 3)), nn.LayerNorm((2, 3), epsilon=1e-5), "error normalised axes: normalised axes 1 vs 2"),
        (NN.GroupNorm(2, 4), nn.GroupNorm(4, 4), "error num_groups: num_groups 4 vs 2"),
        (NN.GELU(), nn.GELU(), "error activation: GELU(tanh) vs GELU(none)"),
        (NN.LeakyReLU(), nn.LeakyReLU(), "error activation: LeakyReLU(0.2) vs LeakyReLU(0.01)"),
        (NN.ELU(0.5), nn.ELU(), "error activation: ELU(1.0) vs ELU(0.5)"),
        (NN.ReLU(), nn.GELU(), "error activation: GELU vs ReLU"),
        (NN.SiLU(), nn.HSwish(), "error activation: HSwish vs SiLU"),
        (NN.ReLU(), nn.Dense(2, 2), "error kind: Dense vs ReLU"),
        (NN.Softmax(1), nn.Softmax(), "error axis: axis -1 vs dim=1 (unless the input has 2 axes)"),
        (NN.Linear(2, 2), nn.Dense(2, 2, activation="relu"), "error activation: activation ReLU() vs None"),
        (NN.MultiheadAttention(4, 2), nn.MultiheadAttention(4, 4), "error num_heads: num_heads 4 vs 2"),
        (NN.LSTM(4, 4, batch_first=True), nn.LSTM(4, 4), "error batch_first: batch_first False vs True"),
        (
            NN.AvgPool2d(3, 2, 1),
            nn.AvgPool2d(3, 2, "pad", 1, count_include_pad=False),
            "error count_include_pad: count_include_pad False vs True",
        ),
        (NN.MaxPool2d(2, 2, ceil_mode=True), nn.MaxPool2d(2, 2), "error ceil_mode: ceil_mode False vs True (at size 33)"),
        (NN.Dropout(0.1), nn.Dropout(p=0.5), "warning p: p 0.5 vs 0.1"),
        (NN.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=0.1), "warning momentum: momentum 0.9 vs 0.1"),
        (NN.CosineSimilarity(), nn.Flatten(), "info not-audited: Flatten vs CosineSimilarity: no rule compares these two"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_each_setting_is_named(module: Any, cell: Any, message: str) -> None:
    """Errors are what makes outputs differ, warnings what makes only training differ."""
    (only,) = audit(module, cell)
    ending = {"error": ": outputs will differ", "warning": ": training will differ, outputs will not", "info": ""}[
        only.severity
    ]
    assert f"{only.severity} {only.code}: {only.message.replace(ending, '', 1)}" == message
    assert ending in only.message


def test_mint_layers_are_compared_by_torchs_names() -> None:
    model = net(conv=NN.Conv2d(3, 3, 3, 2, 1), bn=NN.BatchNorm2d(3), ln=NN.LayerNorm(3), act=NN.GELU(), fc=NN.Linear(2, 2))
    good = net(
        conv=mint.nn.Conv2d(3, 3, 3, 2, 1),
        bn=mint.nn.BatchNorm2d(3),
        ln=mint.nn.LayerNorm(3),
        act=mint.nn.GELU(),
        fc=mint.nn.Linear(2, 2),
    )
    bad = net(
        conv=mint.nn.Conv2d(3, 3, 3, 2, 0),
        bn=mint.nn.BatchNorm2d(3, eps=1e-3),
        ln=mint.nn.LayerNorm(3, eps=1e-3),
        act=mint.nn.GELU(approximate="tanh"),
        fc=mint.nn.Linear(2, 2),
    )
    assert found(model, good) == []
    assert [f"{f.where} {f.code}" for f in audit(model, bad)] == ["conv padding", "bn eps", "ln eps", "act activation"]


def close(module: Any, cell: Any, shape: tuple[int, ...]) -> bool:
    values = np.random.default_rng(0).standard_normal(shape).astype("f4") - 3  # so that zeros and -inf in the padding count
    expected = module.eval()(torch.from_numpy(values)).detach().numpy()
    got = cell.set_train(False)(from_numpy(values)).asnumpy()
    return expected.shape == got.shape and bool(np.allclose(expected, got, atol=1e-4))


GRID = list(itertools.product((1, 2, 3, 4), (1, 2, 3), (0, 1), ("same", "valid", 0, 1)))


@pytest.mark.parametrize("kind", ["conv", "max", "mean"])
def test_verdicts_on_windows_are_those_of_the_forwards(kind: str) -> None:
    """Kernels, strides and paddings of both frameworks: silent exactly where outputs agree at all sizes from 32 on."""
    verdicts = {True: 0, False: 0}
    for kernel, stride, padding, mode in GRID:
        if 2 * padding > kernel or (mode == 1 and kernel == 1):
            continue
        where = {"pad_mode": "pad", "padding": mode} if isinstance(mode, int) else {"pad_mode": mode}
        if kind == "conv":
            module: Any = NN.Conv2d(1, 1, kernel, stride, padding)
            cell: Any = nn.Conv2d(1, 1, kernel, stride, **where, has_bias=True)
            cell.weight.set_data(ms.Tensor(module.weight.detach().numpy()))
            cell.bias.set_data(ms.Tensor(module.bias.detach().numpy()))
        else:
            module = (NN.MaxPool2d if kind == "max" else NN.AvgPool2d)(kernel, stride, padding)
            cell = (nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(kernel, stride, **where)
        agree = all(close(module, cell, (1, 1, size, size)) for size in range(32, 32 + stride))
        assert audit(module, cell).ok == agree, (kernel, stride, padding, mode, found(module, cell))
        verdicts[agree] += 1
    assert min(verdicts.values()) > 10


def test_windows_with_ceil_mode_lie_as_torch_lays_them() -> None:
    """Axis.placed against the sizes of torch's outputs."""
    for kernel, stride, padding, ceil, size in itertools.product(
        (1, 2, 3, 5), (1, 2, 3), (0, 1, 2), (False, True), range(5, 13)
    ):
        if 2 * padding <= kernel:
            out = torch.nn.functional.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, ceil_mode=ceil)
            assert Axis(kernel, stride, 1, (padding, padding), ceil).placed(size) == (-padding, out.shape[-1])


def test_paths_pair_what_is_called_differently() -> None:
    model = net(stem=net(norm=NN.LayerNorm(3)), head=NN.ReLU())
    network = net(begin=net(norm=nn.LayerNorm((3,))), act=nn.ReLU())
    report = audit(net(stem=net(norm=NN.LayerNorm(3)), head=NN.ReLU()), net(begin=net(norm=nn.GroupNorm(3, 3))))
    assert [f.code for f in report] == ["unpaired", "unpaired"]
    assert "2 layers have no counterpart: 1 LayerNorm, 1 ReLU (stem.norm, head)" in str(report)
    report = audit(model, network, {"stem": "begin", "head": "act"})
    assert [(f.where, f.code) for f in report] == [("begin.norm", "eps")]
    for paths in ({"nose": "act"}, {"head": "nose"}):
        with pytest.raises(CheckpointError, match="has no module 'nose'"):
            audit(model, network, paths)


def test_what_has_no_pair_is_paired_by_its_place() -> None:
    """Between layers that are paired, one of a kind; two candidates are none."""
    model = net(a=NN.Linear(3, 3), pool=NN.MaxPool2d(3, 2, 1), b=NN.Linear(3, 3), act=NN.GELU())
    network = net(a=nn.Dense(3, 3), max_pool=nn.MaxPool2d(3, 2, "same"), b=nn.Dense(3, 3), gelu=nn.GELU())
    said = {f.where: f.message for f in audit(model, network)}
    assert said["max_pool"].startswith("pad_mode 'same' vs padding=1 of pool, by its place: outputs will differ")
    assert said["gelu"].startswith("GELU(tanh) vs GELU(none) of act, by its place")
    two = net(a=nn.Dense(3, 3), one=nn.MaxPool2d(3, 2, "same"), two=nn.MaxPool2d(3, 2, "same"), b=nn.Dense(3, 3))
    assert "padding" not in [f.code for f in audit(net(a=NN.Linear(3, 3), pool=NN.MaxPool2d(3, 2, 1), b=NN.Linear(3, 3)), two)]


def test_a_cell_that_paths_name_is_no_other_modules() -> None:
    """As where one side counts a layer more: the activation is then free to be paired by its place."""
    model = NN.Sequential(NN.Linear(3, 3), NN.GELU(), NN.LayerNorm(3))
    network = nn.SequentialCell(nn.GELU(), nn.LayerNorm((3,)))
    assert "1" not in pairs(model, network, {"2": "1"})
    said = {f.where: f.message for f in audit(model, net(act=nn.GELU(), **{"1": nn.LayerNorm((3,))}), {"2": "1"})}
    assert said["act"].startswith("GELU(tanh) vs GELU(none) of 1, by its place")


def test_wrappers_are_no_steps_of_a_path() -> None:
    """As torch.compile and activation checkpoints leave them, in the middle, too."""

    class Compiled(NN.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self._orig_mod = inner

    model = Compiled(net(a=Compiled(NN.LayerNorm(3))))
    network = net(a=nn.LayerNorm((3,)))
    assert list(pairs(model, network)) == ["", "a"]
    assert [(f.where, f.code) for f in audit(model, network)] == [("a", "eps")]


def test_the_users_own_classes_are_silent_and_what_is_in_them_is_not() -> None:
    class Block(NN.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = NN.LayerNorm(3)

    class BlockCell(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm((3,))

    class Norm(nn.LayerNorm):
        pass

    assert [(f.where, f.code) for f in audit(Block(), BlockCell())] == [("norm", "eps")]
    assert [f.code for f in audit(NN.LayerNorm(3), Norm((3,)))] == ["eps"]
