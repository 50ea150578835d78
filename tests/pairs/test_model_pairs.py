"""Published models of torchvision and timm against mindcv's, and GPT-2: equal ones agree, the others say why not.

Random weights, with norms, layer scales, heads and statistics that no other tensor resembles. ``make test-pairs``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindcv
import mindspore as ms
import numpy as np
import pytest
import timm
import torch
import torchvision.models as tv
from mindspore import nn, ops

import dsbridge as dsb
from dsbridge.checkpoint.pairing import pairs
from dsbridge.checkpoint.rules import RuleSet
from dsbridge.errors import CheckpointError

ckpt = dsb.checkpoint


def randomised(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if not tensor.dtype.is_floating_point:
            continue
        if name.endswith(("running_var", "gamma")) or (tensor.ndim == 1 and name.endswith("weight")):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.5 + 0.75)
        elif tensor.ndim < 2 or not tensor.any():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.05)
    return model


def images(size: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 3, size, size)).astype(np.float32)


def converted(model: Any, network: Any, folder: Path, rules: Any = "auto", guesses: bool = True) -> Any:
    """The plan, carried out and loaded."""
    torch.save(model.state_dict(), folder / "a.pth")
    live = {"model": model, "network": network, "rules": rules}
    plan = ckpt.plan(folder / "a.pth", **live)
    ckpt.convert(folder / "a.pth", folder / "b.safetensors", **live, accept_guesses=guesses, progress=False)
    ckpt.load(folder / "b.safetensors", network)
    assert ckpt.compare(folder / "a.pth", folder / "b.safetensors", **live).ok
    return plan


def errors(report: Any) -> dict[str, str]:
    return {finding.where: finding.message for finding in report.findings if finding.severity == "error"}


def equal_once_set(model: Any, network: Any, inputs: np.ndarray, paths: Any) -> None:
    """With the model's settings the audit is silent and outputs agree to 1e-5: nothing else was wrong."""
    for module, cell, _ in pairs(model, network, paths).values():
        if isinstance(cell, nn.LayerNorm):
            cell.epsilon = module.eps
            cell.layer_norm = ops.LayerNorm(cell.begin_norm_axis, cell.begin_params_axis, module.eps)
        elif isinstance(cell, nn.BatchNorm2d):
            cell.eps = module.eps
            cell.bn_infer = ops.BatchNorm(is_training=False, epsilon=module.eps)
        elif isinstance(cell, nn.Conv2d) and cell.pad_mode == "same":
            (height, width), cell.pad_mode = module.padding, "pad"
            cell.padding = (height, height, width, width)
            settings = {"pad": cell.padding, "stride": cell.stride, "dilation": cell.dilation, "group": cell.group}
            cell.conv2d = ops.Conv2D(cell.out_channels, cell.kernel_size, pad_mode="pad", **settings)
    for _, cell in network.cells_and_names():
        if isinstance(cell, nn.GELU):
            cell.approximate = "none"
    assert not errors(ckpt.audit(model, network, paths))
    report = ckpt.verify(model, network, inputs, rtol=1e-5, paths=paths)
    assert report.ok, report


def test_mobilenet_v2_is_equal(tmp_path: Path) -> None:
    model, network = randomised(tv.mobilenet_v2()), mindcv.create_model("mobilenet_v2_100")
    plan = converted(model, network, tmp_path)
    assert plan.counts["guessed"] == 260 and not plan.ok  # the names are others; nothing but the order says so
    with pytest.raises(CheckpointError, match="260 guessed"):
        ckpt.convert(tmp_path / "a.pth", tmp_path / "c.ckpt", model=model, network=network, progress=False)
    report = ckpt.verify(model, network, images(64), paths=plan.module_paths)
    assert report.ok and report.gaps[0].relative < 1e-4
    assert not errors(ckpt.audit(model, network, plan.module_paths))


CONVNEXT = {
    "stages.0.blocks.{i}.gamma": "feature.1.{i}.gamma_",
    "stages.1.blocks.{i}.gamma": "feature.3.{i}.gamma_",
    "stages.2.blocks.{i}.gamma": "feature.5.{i}.gamma_",
    "stages.3.blocks.{i}.gamma": "feature.7.{i}.gamma_",
}


def test_convnext_tiny_has_another_gelu(tmp_path: Path) -> None:
    """Its layer scales lie in blocks with other names: four rules. With timm's GELU and padding both are equal."""
    model, network = randomised(timm.create_model("convnext_tiny")), mindcv.create_model("convnext_tiny")
    with pytest.raises(CheckpointError, match="18 unmatched, 18 missing"):
        converted(model, network, tmp_path)
    plan = converted(model, network, tmp_path, CONVNEXT)
    assert 1e-5 < ckpt.verify(model, network, images(64), paths=plan.module_paths).gaps[0].relative < 1e-3
    assert "18 GELU (feature.1.0.act" in str(ckpt.audit(model, network, plan.module_paths))  # timm's is a class of its own
    equal_once_set(model, network, images(64), plan.module_paths)


def test_resnet18_pools_elsewhere(tmp_path: Path) -> None:
    model, network = randomised(tv.resnet18()), mindcv.create_model("resnet18")
    plan = converted(model, network, tmp_path)
    report = ckpt.verify(model, network, images(64), paths=plan.module_paths)
    assert not report.ok and report.diverges == "layer1.0.conv1"
    found = errors(ckpt.audit(model, network, plan.module_paths))
    assert list(found) == ["max_pool"] and "pad_mode 'same' vs padding=1" in found["max_pool"]
    network.max_pool = nn.MaxPool2d(3, 2, pad_mode="pad", padding=1)
    equal_once_set(model, network, images(64), plan.module_paths)


def test_mobilenet_v3_small_has_other_settings(tmp_path: Path) -> None:
    model, network = randomised(tv.mobilenet_v3_small()), mindcv.create_model("mobilenet_v3_small_100")
    plan = converted(model, network, tmp_path)
    assert not ckpt.verify(model, network, images(64), rtol=1e-5, paths=plan.module_paths).ok
    found = errors(ckpt.audit(model, network, plan.module_paths))
    eps = [where for where, message in found.items() if "eps 1e-05 vs 0.001" in message]
    same = [where for where, message in found.items() if "pad_mode 'same' vs padding=" in message]
    assert len(eps) == 34 and len(same) == 4 and len(found) == 38
    equal_once_set(model, network, images(64), plan.module_paths)


def test_vit_has_another_gelu_and_eps(tmp_path: Path) -> None:
    model, network = randomised(timm.create_model("vit_base_patch16_224")), mindcv.create_model("vit_b_16_224")
    plan = converted(model, network, tmp_path, guesses=False)
    found = errors(ckpt.audit(model, network, plan.module_paths))
    assert "GELU(tanh) vs GELU(none)" in found["blocks.0.mlp.act"] and "eps 1e-07 vs 1e-06" in found["blocks.11.norm2"]
    assert ckpt.verify(model, network, images(224)).gaps[0].relative > 1e-4
    equal_once_set(model, network, images(224), plan.module_paths)


SWIN = RuleSet.from_dict(
    {
        "version": 1,
        "rule": [
            {
                "source": "layers.{i}.blocks.{j}.attn.qkv.{p}",
                "target": [f"layers.{{i}}.blocks.{{j}}.attn.{part}.{{p}}" for part in "qkv"],
                "operations": [{"name": "split", "axis": 0, "sizes": 3}],
            },
            {
                "source": "layers.{i}.blocks.{j}.attn.relative_position_bias_table",
                "target": "layers.{i}.blocks.{j}.attn.relative_bias.relative_position_bias_table",
            },
            {"source": "layers.{i}.downsample.reduction.weight", "target": "layers.{i-1}.downsample.reduction.weight"},
            {"source": "layers.{i}.downsample.norm.weight", "target": "layers.{i-1}.downsample.norm.gamma"},
            {"source": "layers.{i}.downsample.norm.bias", "target": "layers.{i-1}.downsample.norm.beta"},
            {"source": "head.fc.{p}", "target": "classifier.{p}"},
            {"target": "layers.{i}.blocks.{j}.attn.relative_bias.index"},
            {"target": "layers.{i}.blocks.{j}.attn_mask"},
        ],
    }
)


def test_swin_tiny_by_rules(tmp_path: Path) -> None:
    """qkv split, stages counted otherwise, 17 buffers that the network computes; no guess is needed."""
    model, network = randomised(timm.create_model("swin_tiny_patch4_window7_224")), mindcv.create_model("swin_tiny")
    plan = converted(model, network, tmp_path, SWIN, guesses=False)
    assert plan.ok and plan.counts["const"] == 17
    found = errors(ckpt.audit(model, network, plan.module_paths))
    assert len(found) == 15 and "GELU(tanh) vs GELU(none)" in found["layers.0.blocks.0.mlp.act"]
    equal_once_set(model, network, images(224), plan.module_paths)


@pytest.mark.parametrize(("theirs", "ours"), [("regnetx_002", "regnet_x_200mf"), ("mixnet_s", "mixnet_s")])
def test_other_networks_are_not_converted_silently(tmp_path: Path, theirs: str, ours: str) -> None:
    model, network = randomised(timm.create_model(theirs)), mindcv.create_model(ours)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    live = {"model": model, "network": network}
    with pytest.raises(CheckpointError, match="cannot be converted"):
        ckpt.convert(tmp_path / "a.pth", tmp_path / "b.ckpt", **live, progress=False)
    assert not (tmp_path / "b.ckpt").exists()
    if theirs == "regnetx_002":  # not even with guesses: the order leaves cells open
        with pytest.raises(CheckpointError, match="ambiguous"):
            ckpt.convert(tmp_path / "a.pth", tmp_path / "b.ckpt", **live, accept_guesses=True, progress=False)
        return
    plan = converted(model, network, tmp_path)
    assert not ckpt.verify(model, network, images(64), paths=plan.module_paths).ok
    assert "SiLU" in str(ckpt.audit(model, network, plan.module_paths))


class Attention(nn.Cell):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn, self.c_proj = nn.Dense(width, 3 * width), nn.Dense(width, width)

    def construct(self, x: Any) -> Any:
        batch, length, width = x.shape
        q, k, v = ops.split(self.c_attn(x), width, axis=-1)
        q, k, v = (t.reshape(batch, length, self.heads, -1).transpose(0, 2, 1, 3) for t in (q, k, v))
        scores = ops.matmul(q, k.transpose(0, 1, 3, 2)) / (width // self.heads) ** 0.5
        hidden = ms.Tensor(np.triu(np.full((length, length), -1e9, np.float32), 1))
        found = ops.matmul(ops.softmax(scores + hidden, -1), v).transpose(0, 2, 1, 3).reshape(batch, length, width)
        return self.c_proj(found)


class Mlp(nn.Cell):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc, self.c_proj, self.act = nn.Dense(width, width), nn.Dense(width, width), nn.GELU()

    def construct(self, x: Any) -> Any:
        return self.c_proj(self.act(self.c_fc(x)))


class Block(nn.Cell):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = (nn.LayerNorm((width,), epsilon=1e-5) for _ in range(2))
        self.attn, self.mlp = Attention(width, heads), Mlp(width)

    def construct(self, x: Any) -> Any:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Cell):
    """GPT-2 by hand, with Dense where Hugging Face has its transposed Conv1D."""

    def __init__(self, vocabulary: int, positions: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.h = nn.CellList([Block(width, heads) for _ in range(layers)])
        self.ln_f = nn.LayerNorm((width,), epsilon=1e-5)

    def construct(self, tokens: Any) -> Any:
        x = self.wte(tokens) + self.wpe(ops.arange(tokens.shape[1]))
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class Hidden(torch.nn.Module):
    """The last hidden state alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner = model

    def forward(self, tokens: Any) -> Any:
        return self.inner(tokens).last_hidden_state


def test_gpt2_transposes_by_type(tmp_path: Path) -> None:
    """Every Conv1D here is square, so that shapes say nothing."""
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=2, n_head=2, n_inner=8, attn_implementation="eager")
    model, network = randomised(GPT2Model(config)), Gpt(50, 16, 8, 2, 2)
    plan = converted(model, network, tmp_path, guesses=False)
    assert plan.ok and plan.counts["transformed"] == 8
    tokens = np.random.default_rng(0).integers(0, 50, (3, 9))
    report = ckpt.verify(Hidden(model), network, tokens)
    assert report.gaps[0].relative < 1e-4, report
