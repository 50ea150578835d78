"""Schedules that move rates and momenta in cycles."""

from __future__ import annotations

import math

from dsbridge.migrate.runtime.schedules import Schedule


class CyclicLR(Schedule):
    """Up from ``base_lr`` to ``max_lr`` and down again; momenta, (lowest, highest) of each group, go the other way."""

    def __init__(
        self,
        rates,
        base_lr,
        max_lr,
        step_size_up,
        step_size_down,
        mode="triangular",
        gamma=1.0,
        scale_fn=None,
        scale_mode="cycle",
        momenta=None,
        **more,
    ):
        super().__init__(rates, base_lr, **more)
        self.max_lr, self.momenta = max_lr, momenta
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        self.total_size = step_size_up + step_size_down
        self.step_ratio = step_size_up / self.total_size

    def first(self):
        return self.get_lr()

    def scale(self, cycle):
        if self.scale_fn is not None:
            return self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "exp_range":
            return self.gamma**self.last_epoch
        return 1 / 2.0 ** (cycle - 1) if self.mode == "triangular2" else 1.0

    def get_lr(self):
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale(cycle)
        if self.momenta is not None:
            self.rates.set_momenta([high - (high - low) * height * scale for low, high in self.momenta])
        return [base + (high - base) * height * scale for base, high in zip(self.base_lrs, self.max_lr, strict=True)]


class OneCycleLR(Schedule):
    """From each of ``points`` (rates of all groups) to the next, the last steps of which are ``ends``; momenta likewise."""

    def __init__(self, rates, points, ends, total_steps, anneal="cos", momenta=None, **more):
        super().__init__(rates, **more)
        self.points, self.ends, self.total_steps, self.anneal, self.momenta = points, ends, total_steps, anneal, momenta

    def first(self):
        return self.get_lr()

    def get_lr(self):
        if self.last_epoch > self.total_steps:
            raise ValueError(f"OneCycleLR has {self.total_steps} steps, this is step {self.last_epoch}")
        phase = next((n for n, end in enumerate(self.ends) if self.last_epoch <= end), len(self.ends) - 1)
        start = self.ends[phase - 1] if phase else 0.0
        part = (self.last_epoch - start) / (self.ends[phase] - start)
        if self.momenta is not None:
            self.rates.set_momenta(self.between(self.momenta[phase], self.momenta[phase + 1], part))
        return self.between(self.points[phase], self.points[phase + 1], part)

    def between(self, begin, end, part):
        if self.anneal == "linear":
            return [(b - a) * part + a for a, b in zip(begin, end, strict=True)]
        return [b + (a - b) / 2.0 * (math.cos(math.pi * part) + 1) for a, b in zip(begin, end, strict=True)]
