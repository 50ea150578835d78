"""Recurrent layers whose steps use a tanh with a right gradient; MindSpore's LSTM has a kernel of its own that is right."""

from __future__ import annotations

from mindspore import nn, ops

from dsbridge.model.runtime.operations import tanh


def gates(x, weight, bias):
    """x W^T + b."""
    product = ops.matmul(x, weight.swapaxes(0, 1))
    return product if bias is None else product + bias


def rnn_step(x, h, w_ih, w_hh, b_ih, b_hh):
    """One step of torch.nn.RNN."""
    return tanh(gates(x, w_ih, b_ih) + gates(h, w_hh, b_hh))


def gru_step(x, h, w_ih, w_hh, b_ih, b_hh):
    """One step of torch.nn.GRU."""
    reset_x, update_x, new_x = ops.chunk(gates(x, w_ih, b_ih), 3, -1)
    reset_h, update_h, new_h = ops.chunk(gates(h, w_hh, b_hh), 3, -1)
    new = tanh(new_x + ops.sigmoid(reset_x + reset_h) * new_h)
    return new + ops.sigmoid(update_x + update_h) * (h - new)


def lstm_step(x, h, w_ih, w_hh, b_ih, b_hh):
    """One step of torch.nn.LSTM."""
    entered, kept, new, shown = ops.chunk(gates(x, w_ih, b_ih) + gates(h[0], w_hh, b_hh), 4, -1)
    c = ops.sigmoid(kept) * h[1] + ops.sigmoid(entered) * tanh(new)
    return ops.sigmoid(shown) * tanh(c), c


class Steps(nn.Cell):
    """One layer in one direction, step by step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def construct(self, x, h, seq_length, w_ih, w_hh, b_ih, b_hh):
        outputs = []
        for t in range(x.shape[0]):
            h = self.step(x[t], h, w_ih, w_hh, b_ih, b_hh)
            outputs.append(h)
        return ops.stack(outputs), h


class RNN(nn.RNN):
    """torch.nn.RNN with tanh."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rnn = Steps(rnn_step)


class GRU(nn.GRU):
    """torch.nn.GRU."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rnn = Steps(gru_step)


class RNNCell(nn.RNNCell):
    """torch.nn.RNNCell with tanh."""

    def construct(self, x, h):
        return rnn_step(x, h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class GRUCell(nn.GRUCell):
    """torch.nn.GRUCell."""

    def construct(self, x, h):
        return gru_step(x, h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class LSTMCell(nn.LSTMCell):
    """torch.nn.LSTMCell."""

    def construct(self, x, h):
        return lstm_step(x, h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
