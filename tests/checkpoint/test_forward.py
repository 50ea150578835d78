"""verify: equal models agree, different ones are told apart and where, and references that prove nothing fail."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn

from dsbridge.checkpoint.forward import Gap, gap, verify
from dsbridge.checkpoint.load import places
from dsbridge.checkpoint.pairing import modules
from dsbridge.errors import CheckpointError, VerificationError
from dsbridge.frameworks.mindspore_tensors import from_numpy
from dsbridge.frameworks.rng import RngState

NN = torch.nn
RENAMED = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


class Model(NN.Module):
    def __init__(self, padding: int = 1) -> None:
        super().__init__()
        self.conv = NN.Conv2d(3, 8, 3, padding=1)
        self.bn = NN.BatchNorm2d(8)
        self.act = NN.ReLU(inplace=True)
        self.pool = NN.MaxPool2d(3, 2, padding)
        self.head = NN.Linear(8, 5)

    def forward(self, image: Any) -> Any:
        return self.head(self.pool(self.act(self.bn(self.conv(image)))).mean((2, 3)))


class Network(nn.Cell):
    def __init__(self, eps: float = 1e-5, pad_mode: str = "pad", padding: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, pad_mode="pad", padding=1, has_bias=True)
        self.bn = nn.BatchNorm2d(8, eps=eps)
        self.act = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, pad_mode, padding)
        self.head = nn.Dense(8, 5)

    def construct(self, image: Any) -> Any:
        return self.head(self.pool(self.act(self.bn(self.conv(image)))).mean((2, 3)))


def randomised(model: Any) -> Any:
    """Weights, norms and statistics that no other tensor resembles."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if tensor.dtype == torch.float32:
            values = torch.rand(tensor.shape, generator=generator) - 0.3
            tensor.copy_(values.abs() + 0.1 if "running_var" in name else values)
    return model


def moved(model: Any, network: Any, **tensors: Any) -> Any:
    state = model.state_dict()
    for place in places(network):
        parent, _, name = place.paths[0].rpartition(".")
        place.value.set_data(from_numpy(state[f"{parent}.{RENAMED.get(name, name)}"].numpy().copy()))
    return network


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, 16, 16)).astype("f4")


def test_equal_models_agree() -> None:
    model = randomised(Model())
    report = verify(model, moved(model, Network()), images())
    assert report.ok and not len(report)
    assert report.gaps[0].relative < 1e-5 and report.gaps[0].agree == 1 and report.diverges == ""
    assert "argmax agrees on 100%" in str(report)
    json.dumps(report.to_dict(), allow_nan=False)


def test_the_first_layer_that_differs_is_named_with_the_reason() -> None:
    """An in-place ReLU follows the BatchNorm: hooks that do not copy see its output twice and blame nobody."""
    model = randomised(Model())
    report = verify(model, moved(model, Network(eps=0.5)), images())
    assert report.diverges == "bn"
    (finding,) = [f for f in report if f.code == "diverges"]
    assert (finding.where, finding.severity) == ("bn", "error")
    assert "after conv, which agrees; the audit says bn: eps 0.5 vs 1e-05: outputs will differ" in finding.message
    assert [path for path, _ in report.layers] == ["conv", "bn", "act", "pool", "head", ""]
    assert dict(report.layers)["conv"].relative < 1e-5
    assert "outputs-differ" in report and not report.ok
    with pytest.raises(VerificationError, match="max abs"):
        report.raise_if_failed()
    json.dumps(report.to_dict(), allow_nan=False)


def test_resnets_pool_is_found() -> None:
    """MaxPool 3/2 padding 1 against pad_mode 'same'."""
    model = randomised(Model())
    report = verify(model, moved(model, Network(pad_mode="same", padding=0)), images())
    assert report.diverges == "pool"
    assert "pad_mode 'same' vs padding=1: outputs will differ" in str(report)


def test_a_wrong_weight_is_found_without_a_word_of_the_audit() -> None:
    model = randomised(Model())
    network = moved(model, Network())
    network.conv.weight.set_data(network.conv.weight + 1)
    report = verify(model, network, images())
    assert report.diverges == "conv" and "the audit" not in str(report) and "the first one compared" in str(report)


def test_weights_at_their_initial_values_prove_nothing() -> None:
    """BatchNorms that were never loaded are equal on both sides; that is said."""
    torch.manual_seed(0)
    model = Model()
    report = verify(model, moved(model, Network()), images())
    (finding,) = report
    assert (finding.code, finding.severity) == ("degenerate-weights", "warning")
    assert (
        "4 tensors are constant" in finding.message and "bn.weight, bn.bias, bn.running_mean, bn.running_var" in finding.message
    )


@pytest.mark.parametrize(
    ("weight", "bias", "words"),
    [
        (0.0, 0.0, "zero everywhere"),
        (0.0, 3.0, "constant"),
        (0.0, None, "the same for different samples"),
        (float("nan"), 0.0, "not finite"),
    ],
)
def test_degenerate_references_fail(weight: float, bias: float | None, words: str) -> None:
    """Zero-initialised heads: parity 0.0 with 83 % of the weights matched."""
    model = randomised(Model())
    with torch.no_grad():
        model.head.weight.fill_(weight)
        if bias is not None:
            model.head.bias.fill_(bias)
    report = verify(model, moved(model, Network()), images())
    (finding,) = [f for f in report if f.code == "degenerate-output"]
    assert words in finding.message and finding.severity == "error" and not report.ok


def test_training_modes_hooks_and_inputs_are_left_as_they_were() -> None:
    model = randomised(Model())
    network = moved(model, Network(eps=0.5))
    model.train()
    model.bn.eval()
    network.set_train(True)
    network.bn.set_train(False)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given = images()
    verify(model, network, given)
    assert [m.training for m in modules(model).values()] == [True, True, False, True, True, True]
    assert [c.training for c in modules(network).values()] == [True, True, False, True, True, True]
    assert not any(m._forward_hooks for m in modules(model).values())
    assert not any(c._forward_hook for c in modules(network).values())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert np.array_equal(given, images())


def test_inputs_that_a_model_works_on_in_place_are_copied_first() -> None:
    given = images()
    report = verify(NN.Sequential(NN.ReLU(inplace=True)), nn.SequentialCell(nn.ReLU()), given)
    assert report.ok and np.array_equal(given, images())


class TwoHeads(NN.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = NN.Linear(3, 3)

    def forward(self, x: Any, scale: Any) -> Any:
        first = self.shared(x)
        return {"a": first, "b": (self.shared(first) * scale,)}


class TwoHeadsCell(nn.Cell):
    def __init__(self, wrong: bool = False, short: bool = False) -> None:
        super().__init__()
        self.dense = nn.Dense(3, 3)
        self.wrong, self.short = wrong, short

    def construct(self, x: Any, scale: Any) -> Any:
        first = self.dense(x)
        if self.short:
            return first
        return first, self.dense(first + 1 if self.wrong else first) * scale


def heads(**options: Any) -> tuple[Any, Any]:
    model, network = randomised(TwoHeads()), TwoHeadsCell(**options)
    for name in ("weight", "bias"):
        getattr(network.dense, name).set_data(from_numpy(getattr(model.shared, name).detach().numpy().copy()))
    return model, network


def test_several_inputs_and_outputs_by_position_and_by_name() -> None:
    x, scale = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("f4")
    model, network = heads()
    for inputs in ((x, scale), [x, scale], {"x": x, "scale": scale}):
        report = verify(model, network, inputs)
        assert report.ok and len(report.gaps) == 2
    with pytest.raises(CheckpointError, match="no inputs"):
        verify(model, network, ())


def test_a_layer_that_runs_twice_is_compared_twice_under_its_other_name() -> None:
    x, scale = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("f4")
    model, network = heads(wrong=True)
    report = verify(model, network, (x, scale), paths={"shared": "dense"})
    assert [path for path, _ in report.layers] == ["shared", "shared", ""]
    assert report.layers[0][1].relative < 1e-5 < report.layers[1][1].relative
    assert report.gaps[0].relative < 1e-5 and report.diverges == "shared"
    unnamed = verify(model, network, (x, scale))
    assert unnamed.diverges == "" and [path for path, _ in unnamed.layers] == [""]


def test_another_number_of_outputs_and_other_shapes_are_errors() -> None:
    x, scale = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("f4")
    model, network = heads(short=True)
    assert "the model returns 2 tensors, the network 1" in str(verify(model, network, (x, scale)))
    model = randomised(Model())
    network = moved(model, Network())
    network.head = nn.Dense(8, 6)
    assert "shape [4, 6], expected [4, 5]" in str(verify(model, network, images()))


@dataclass
class Record:
    """What a model may return beside tensors."""

    extra: Any


class ModelOutput(OrderedDict):
    """As transformers' outputs: a mapping."""


class Opaque:
    def __init__(self, extra: Any) -> None:
        self.extra = extra


@pytest.mark.parametrize("wrap", [Record, lambda extra: ModelOutput(extra=extra), lambda extra: {"in": ([extra], None)}])
def test_tensors_inside_of_any_output_are_compared(wrap: Any) -> None:
    def reports(factor: float) -> Any:
        model, network = heads()
        model.forward = lambda x: (model.shared(x), wrap(model.shared(x)))
        network.construct = lambda x: (network.dense(x), wrap(network.dense(x) * factor))
        return verify(model, network, np.random.default_rng(0).standard_normal((4, 3)).astype("f4"))

    same, other = reports(1.0), reports(9.0)
    assert same.ok and len(same.gaps) == 2
    assert not other.ok and other.gaps[0].relative < 1e-5 < other.gaps[1].relative


def test_an_output_that_is_not_looked_into_is_named() -> None:
    model, network = heads()
    model.forward = lambda x: (model.shared(x), Opaque(model.shared(x)), None, 3)
    network.construct = lambda x: (network.dense(x), Opaque(network.dense(x) * 9), None, 3)
    report = verify(model, network, np.random.default_rng(0).standard_normal((4, 3)).astype("f4"))
    (finding,) = report
    assert (finding.code, finding.severity) == ("output-not-read", "warning") and finding.where.endswith(".Opaque")


def test_generators_are_left_as_they_were() -> None:
    model, network = heads()
    model.forward = lambda x: model.shared(x) + 0 * torch.rand(1) * np.random.rand()
    network.construct = lambda x: network.dense(x)
    before = RngState.capture()
    assert verify(model, network, np.ones((1, 3), "f4")).ok
    assert before.is_current()


def test_gaps() -> None:
    a = np.array([[1.0, 5.0], [2.0, 0.0]])
    assert gap(a, a) == Gap(0.0, 0.0, 1.0)
    assert gap(a, a[::-1]) == Gap(5.0, 1.0, 0.0)
    assert gap(a, a[:1]).relative == np.inf
    assert gap(a, np.where(a == 5, np.nan, a)).relative == np.inf
    assert gap(np.zeros(2), np.ones(2)).relative == np.inf
    assert gap(np.zeros((2, 0)), np.zeros((2, 0))).relative == 0
    image = np.zeros((1, 3, 2, 2))
    image[0, 1] = 1
    assert gap(image, image[:, ::-1].copy()).agree == 1  # the class in the middle stays
    assert gap(image, np.roll(image, 1, 1)).agree == 0


def test_bfloat16_models_are_compared() -> None:
    model = randomised(NN.Sequential(NN.Linear(4, 4))).bfloat16()

    class Half(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.w = ms.Parameter(from_numpy(model[0].weight.detach().float().numpy().copy()), name="w")
            self.b = ms.Parameter(from_numpy(model[0].bias.detach().float().numpy().copy()), name="b")

        def construct(self, x: Any) -> Any:
            return (x.astype(ms.float32) @ self.w.T + self.b).astype(ms.bfloat16)

    import ml_dtypes

    x = np.random.default_rng(0).standard_normal((3, 4)).astype(ml_dtypes.bfloat16)
    report = verify(model, Half(), x, rtol=0.02)
    assert report.ok and report.gaps[0].relative < 0.02
