"""Optimizers that MindSpore has not, or not as torch: the formulas of torch 2.13."""

from __future__ import annotations

import math

import mindspore as ms
from mindspore import ops
from mindspore.experimental import optim


class SGD(optim.SGD):
    """torch.optim.SGD; the momentum of each group is a Parameter, which a schedule moves, in a compiled step too."""

    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.momenta = [
            ms.Parameter(ms.Tensor(group["momentum"], ms.float32), name=f"momentum_{number}")
            for number, group in enumerate(self.param_groups)
        ]
        for group, momentum in zip(self.param_groups, self.momenta, strict=True):
            group["momentum"] = momentum

    def construct(self, gradients):
        for number, group in enumerate(self.param_groups):
            update = ops.SGD(group["dampening"], group["weight_decay"], group["nesterov"])
            for at in range(self.group_start_id[number], self.group_start_id[number + 1]):
                gradient = -gradients[at] if group["maximize"] else gradients[at]
                update(self.parameters[at], gradient, self.lrs[number], self.accum[at], self.momenta[number], self.stat[at])
        return True


class Adam(optim.AdamW):
    """torch.optim.Adam, whose weight decay is a part of the gradient, or AdamW (``decoupled``).

    MindSpore's own takes 1 - beta2 ** step in float32, which has few digits at first. beta1 of each group is a Parameter,
    which a schedule moves, in a compiled step too.
    """

    def __init__(self, params, weight_decay=0.0, decoupled=False, **options):
        super().__init__(params, weight_decay=weight_decay, **options)
        self.decoupled = decoupled
        self.adam = ops.Adam()
        self.logarithms, self.rests = second_betas(self)
        self.momenta = [
            ms.Parameter(ms.Tensor(group["betas"][0], ms.float32), name=f"beta1_{number}")
            for number, group in enumerate(self.param_groups)
        ]
        for group, beta1 in zip(self.param_groups, self.momenta, strict=True):
            group["betas"] = (beta1, group["betas"][1])

    @ms.jit
    def update(self, gradients):
        """One step, compiled also where the training step is not."""
        ops.assign_add(self.state_step, 1)
        step = self.state_step.astype(ms.float32)
        for number, group in enumerate(self.param_groups):
            lr, beta1, beta2, decay = self.lrs[number], self.momenta[number], group["betas"][1], group["weight_decay"]
            root = ops.sqrt(one_less_exp(step * self.logarithms[number]))
            rate = lr / (1.0 - ops.pow(beta1, step))
            for at in range(self.group_start_id[number], self.group_start_id[number + 1]):
                weight, average, square = self.parameters[at], self.exp_avg[at], self.exp_avg_sq[at]
                gradient = -gradients[at] if group["maximize"] else gradients[at]
                if decay and self.decoupled:
                    ops.assign(weight, weight * (1.0 - lr * decay))
                elif decay:
                    gradient = gradient + weight * decay
                if group["amsgrad"]:
                    ops.assign(average, average * beta1 + gradient * (1.0 - beta1))
                    ops.assign(square, square * beta2 + gradient * gradient * self.rests[number])
                    ops.assign(self.max_exp_avg_sq[at], ops.maximum(self.max_exp_avg_sq[at], square))
                    divisor = ops.sqrt(self.max_exp_avg_sq[at]) / root + group["eps"]
                    ops.assign(weight, weight - rate * average / divisor)
                else:  # the kernel's bias correction has few digits, and comes after eps; powers of 0 leave it out
                    eps = group["eps"] * root
                    self.adam(weight, average, square, 0.0, 0.0, rate * root, beta1, beta2, eps, gradient)
        return True

    def construct(self, gradients):
        return self.update(gradients)


class NAdam(optim.NAdam):
    """torch.optim.NAdam with maximize, or with a weight decay of its own (``decoupled``)."""

    def __init__(self, params, decoupled=False, maximize=False, **options):
        super().__init__(params, **options)
        self.maximize = maximize
        self.decays = [group["weight_decay"] if decoupled else 0.0 for group in self.param_groups]
        for group in self.param_groups if decoupled else ():
            group["weight_decay"] = 0.0  # MindSpore is not to add it to the gradients

    def construct(self, gradients):
        for number, decay in enumerate(self.decays):
            if decay:
                for at in range(self.group_start_id[number], self.group_start_id[number + 1]):
                    ops.assign(self.parameters[at], self.parameters[at] * (1.0 - self.lrs[number] * decay))
        if self.maximize:
            gradients = tuple([-gradient for gradient in gradients])
        return super().construct(gradients)


class RAdam(optim.RAdam):
    """torch.optim.RAdam, with a weight decay of its own (``decoupled``) or in the gradient.

    What MindSpore computes in float32 of 2 / (1 - beta2) and a number close to it has no digits left.
    """

    def __init__(self, params, decoupled=False, maximize=False, **options):
        super().__init__(params, **options)
        self.decoupled, self.maximize = decoupled, maximize
        self.logarithms, self.rests = second_betas(self)
        betas = [group["betas"][1] for group in self.param_groups]
        self.limits = [ms.Tensor(2.0 / (1.0 - beta2) - 1.0, ms.float64) for beta2 in betas]
        self.exact = [ms.Tensor(math.log(beta2), ms.float64) for beta2 in betas]

    @ms.jit
    def update(self, gradients):
        """One step, compiled also where the training step is not."""
        ops.assign_add(self.step_t, 1)
        step, wide = self.step_t.astype(ms.float32), self.step_t.astype(ms.float64)
        for number, group in enumerate(self.param_groups):
            lr, beta1, beta2, decay = self.lrs[number], group["betas"][0], group["betas"][1], group["weight_decay"]
            rate = lr / (1.0 - ops.pow(beta1, step))
            root = ops.sqrt(one_less_exp(step * self.logarithms[number]))
            power, limit = ops.exp(wide * self.exact[number]), self.limits[number]
            length = limit - 2.0 * wide * power / (1.0 - power)
            part = (length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length)
            factor = ops.sqrt(ops.maximum(part, 0.0 * part)).astype(ms.float32) * root
            for at in range(self.group_start_id[number], self.group_start_id[number + 1]):
                weight = self.parameters[at]
                gradient = -gradients[at] if self.maximize else gradients[at]
                if decay and self.decoupled:
                    ops.assign(weight, weight * (1.0 - lr * decay))
                elif decay:
                    gradient = gradient + weight * decay
                average = self.exp_avg[at] * beta1 + gradient * (1.0 - beta1)
                square = self.exp_avg_sq[at] * beta2 + gradient * gradient * self.rests[number]
                ops.assign(self.exp_avg[at], average)
                ops.assign(self.exp_avg_sq[at], square)
                ratio = ops.where(length > 5.0, factor / (ops.sqrt(square) + group["eps"]), ops.ones_like(square))
                ops.assign(weight, weight - rate * average * ratio)
        return True

    def construct(self, gradients):
        return self.update(gradients)


def second_betas(optimizer):
    """Of beta2 in each group: the logarithm and what is left to 1, both of the float32 number that kernels compute with."""
    betas = [float(ms.Tensor(group["betas"][1], ms.float32).asnumpy()) for group in optimizer.param_groups]
    return [math.log(beta2) if beta2 else -math.inf for beta2 in betas], [1.0 - beta2 for beta2 in betas]


def one_less_exp(x):
    """1 - exp(x) for x < 0; MindSpore's expm1 loses the digits that it is there to keep (1.7e-4 at x=-1e-4)."""
    half = ops.tanh(x * 0.5)
    return -2.0 * half / (1.0 - half)
