"""Schedules of torch.optim.lr_scheduler (2.13): the same operations on Python floats, in the same order."""

from __future__ import annotations

import math

import mindspore as ms
from mindspore import ops


class Rates:
    """The learning rates of an optimizer's groups as Python floats, as torch has them, and momenta where they are scheduled.

    What is set is rounded once, when the optimizer gets it. To set a rate by hand: ``scheduler.rates.set([0.1])``.
    """

    def __init__(self, optimizer, rates, momenta=None):
        self.optimizer, self.momenta = optimizer, None
        self.set(rates)
        if momenta is not None:
            self.set_momenta(momenta)

    def set(self, rates):
        self.now = list(rates)
        for group, rate in zip(self.optimizer.param_groups, self.now, strict=True):
            ops.assign(group["lr"], ms.Tensor(rate, ms.float32))

    def set_momenta(self, momenta):
        self.momenta = list(momenta)
        for parameter, momentum in zip(self.optimizer.momenta, self.momenta, strict=True):
            ops.assign(parameter, ms.Tensor(momentum, ms.float32))


class Schedule:
    """What all share. ``base_lrs``: torch's initial_lr of each group, where it is needed; ``last_epoch``: steps done."""

    counters = ("last_epoch",)

    def __init__(self, rates, base_lrs=None, last_epoch=0):
        self.rates, self.base_lrs, self.last_epoch = rates, base_lrs, last_epoch

    def step(self):
        self.last_epoch += 1
        self.rates.set(self.get_lr())

    def restart(self):
        """SequentialLR has come to this one."""
        self.last_epoch = 0
        self.rates.set(self.first())

    def first(self):
        return self.base_lrs

    def get_last_lr(self):
        return list(self.rates.now)

    def state_dict(self):
        state = {name: getattr(self, name) for name in self.counters}
        return {**state, "rates": list(self.rates.now), "momenta": self.rates.momenta and list(self.rates.momenta)}

    def load_state_dict(self, state):
        for name in self.counters:
            setattr(self, name, state[name])
        self.rates.set(state["rates"])
        if state["momenta"] is not None:
            self.rates.set_momenta(state["momenta"])


class StepLR(Schedule):
    """Times gamma every ``step_size`` steps."""

    def __init__(self, rates, step_size, gamma=0.1, **more):
        super().__init__(rates, **more)
        self.step_size, self.gamma = step_size, gamma

    def get_lr(self):
        if self.last_epoch % self.step_size != 0:
            return self.rates.now
        return [rate * self.gamma for rate in self.rates.now]


class MultiStepLR(Schedule):
    """Times gamma at each milestone."""

    def __init__(self, rates, milestones, gamma=0.1, **more):
        super().__init__(rates, **more)
        self.milestones, self.gamma = milestones, gamma

    def first(self):
        return [base * self.gamma ** self.milestones.count(0) for base in self.base_lrs]

    def get_lr(self):
        times = self.milestones.count(self.last_epoch)
        return [rate * self.gamma**times for rate in self.rates.now] if times else self.rates.now


class ExponentialLR(Schedule):
    """Times gamma each step."""

    def __init__(self, rates, gamma, **more):
        super().__init__(rates, **more)
        self.gamma = gamma

    def get_lr(self):
        return [rate * self.gamma for rate in self.rates.now]


class ConstantLR(Schedule):
    """Times ``factor`` for the first ``total_iters`` steps."""

    def __init__(self, rates, factor=1.0 / 3, total_iters=5, **more):
        super().__init__(rates, **more)
        self.factor, self.total_iters = factor, total_iters

    def first(self):
        return [base * (self.factor + (self.total_iters <= 0) * (1 - self.factor)) for base in self.base_lrs]

    def get_lr(self):
        if self.last_epoch != self.total_iters:
            return self.rates.now
        return [rate * (1.0 / self.factor) for rate in self.rates.now]


class LinearLR(Schedule):
    """From ``start_factor`` to ``end_factor`` in ``total_iters`` steps."""

    def __init__(self, rates, start_factor=1.0 / 3, end_factor=1.0, total_iters=5, **more):
        super().__init__(rates, **more)
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters

    def first(self):
        return [base * self.start_factor for base in self.base_lrs]

    def get_lr(self):
        if self.last_epoch > self.total_iters:
            return self.rates.now
        change = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * change
        return [rate * (1.0 + change / before) for rate in self.rates.now]


class PolynomialLR(Schedule):
    """To zero in ``total_iters`` steps, as a power."""

    def __init__(self, rates, total_iters=5, power=1.0, **more):
        super().__init__(rates, **more)
        self.total_iters, self.power = total_iters, power

    def get_lr(self):
        if self.last_epoch > self.total_iters:
            return self.rates.now
        left, before = 1.0 - self.last_epoch / self.total_iters, 1.0 - (self.last_epoch - 1) / self.total_iters
        return [rate * (left / before) ** self.power for rate in self.rates.now]


class CosineAnnealingLR(Schedule):
    """Down to ``eta_min`` in ``T_max`` steps along a cosine, and up again."""

    def __init__(self, rates, base_lrs, T_max, eta_min=0.0, **more):
        super().__init__(rates, base_lrs, **more)
        self.T_max, self.eta_min = T_max, eta_min

    def first(self):
        return [self.eta_min + (base - self.eta_min) * (1 + math.cos(0.0)) / 2 for base in self.base_lrs]

    def get_lr(self):
        epoch, span, low = self.last_epoch, self.T_max, self.eta_min
        if (epoch - 1 - span) % (2 * span) == 0:
            rise = 1 - math.cos(math.pi / span)
            return [rate + (base - low) * rise / 2 for base, rate in zip(self.base_lrs, self.rates.now, strict=True)]
        ratio = (1 + math.cos(math.pi * epoch / span)) / (1 + math.cos(math.pi * (epoch - 1) / span))
        return [ratio * (rate - low) + low for rate in self.rates.now]


class CosineAnnealingWarmRestarts(Schedule):
    """Down to ``eta_min`` along a cosine, again and again, each time ``T_mult`` times as long."""

    counters = ("last_epoch", "T_cur", "T_i")

    def __init__(self, rates, base_lrs, T_0, T_mult=1, eta_min=0.0, T_cur=0, T_i=None, **more):
        super().__init__(rates, base_lrs, **more)
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self.T_cur, self.T_i = T_cur, T_0 if T_i is None else T_i

    def step(self, epoch=None):
        """``epoch``: where to go, may be a fraction."""
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur, self.T_i = self.T_cur % self.T_i, self.T_i * self.T_mult
        elif epoch < self.T_0:
            self.T_cur, self.T_i = epoch, self.T_0
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            times = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**times - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**times
        self.last_epoch = math.floor(epoch)
        self.rates.set(self.get_lr())

    def first(self):
        return self.get_lr()

    def get_lr(self):
        turn = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (base - self.eta_min) * turn / 2 for base in self.base_lrs]


class LambdaLR(Schedule):
    """The base rates times a function of the step, one for each group."""

    def __init__(self, rates, base_lrs, lr_lambda, **more):
        super().__init__(rates, base_lrs, **more)
        self.lr_lambda = lr_lambda

    def first(self):
        return self.get_lr()

    def get_lr(self):
        return [base * function(self.last_epoch) for function, base in zip(self.lr_lambda, self.base_lrs, strict=True)]


class MultiplicativeLR(Schedule):
    """Each time multiplied with a function of the step, one for each group."""

    def __init__(self, rates, lr_lambda, **more):
        super().__init__(rates, **more)
        self.lr_lambda = lr_lambda

    def first(self):
        return self.get_lr()

    def get_lr(self):
        return [rate * function(self.last_epoch) for function, rate in zip(self.lr_lambda, self.rates.now, strict=True)]
