"""Recurrent layers: the same gates in the same order."""

from __future__ import annotations

from typing import Any

from torch import nn

from dsbridge.model.construct import Construct, Refused
from dsbridge.model.layers.registry import Seen, layer


def _cell(callee: str, module: Any, seen: Seen, **more: Any) -> Construct:
    if any(len(call.args) + len(call.kwargs) < 2 for call in seen.calls):
        raise Refused("it is called without a state: MindSpore's needs one")
    args = {"input_size": module.input_size, "hidden_size": module.hidden_size, "has_bias": module.bias, **more}
    return Construct(callee, args, 2, {"has_bias": True})


def _recurrent(cell: str, module: Any, **more: Any) -> Construct:
    if getattr(module, "proj_size", 0):
        raise Refused("proj_size: MindSpore has no projections")
    args = {
        "input_size": module.input_size, "hidden_size": module.hidden_size, "num_layers": module.num_layers,
        "has_bias": module.bias, "batch_first": module.batch_first, "dropout": float(module.dropout),
        "bidirectional": module.bidirectional, **more,
    }  # fmt: skip
    defaults = {
        "num_layers": 1, "has_bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False, "nonlinearity": "tanh",
    }  # fmt: skip
    return Construct(cell, args, 2, defaults)


@layer(nn.LSTM)
def lstm(module: nn.LSTM, seen: Seen) -> Construct:
    """Weights are split by layer and direction in both."""
    return _recurrent("nn.LSTM", module)


@layer(nn.GRU)
def gru(module: nn.GRU, seen: Seen) -> Construct:
    """Steps with another tanh: the gradient of MindSpore's is wrong where it saturates."""
    return _recurrent("GRU", module)


@layer(nn.RNN)
def rnn(module: nn.RNN, seen: Seen) -> Construct:
    """As GRU, with tanh."""
    return _recurrent("RNN" if module.nonlinearity == "tanh" else "nn.RNN", module, nonlinearity=module.nonlinearity)


@layer(nn.LSTMCell)
def lstm_cell(module: nn.LSTMCell, seen: Seen) -> Construct:
    """One step."""
    return _cell("LSTMCell", module, seen)


@layer(nn.GRUCell)
def gru_cell(module: nn.GRUCell, seen: Seen) -> Construct:
    """One step."""
    return _cell("GRUCell", module, seen)


@layer(nn.RNNCell)
def rnn_cell(module: nn.RNNCell, seen: Seen) -> Construct:
    """One step."""
    if module.nonlinearity == "tanh":
        return _cell("RNNCell", module, seen)
    return _cell("nn.RNNCell", module, seen, nonlinearity=module.nonlinearity)
