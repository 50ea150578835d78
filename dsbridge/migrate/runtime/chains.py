"""A schedule that looks at a metric, and schedules of schedules."""

from __future__ import annotations

import math
from bisect import bisect_right

from dsbridge.migrate.runtime.schedules import Schedule


class ReduceLROnPlateau(Schedule):
    """Times ``factor`` when the metric has not become better for more than ``patience`` steps."""

    counters = ("last_epoch", "best", "num_bad_epochs", "cooldown_counter")

    def __init__(
        self,
        rates,
        mode="min",
        factor=0.1,
        patience=10,
        threshold=1e-4,
        threshold_mode="rel",
        cooldown=0,
        min_lr=None,
        eps=1e-8,
        best=None,
        num_bad_epochs=0,
        cooldown_counter=0,
        **more,
    ):
        super().__init__(rates, **more)
        self.mode, self.factor, self.patience, self.cooldown, self.eps = mode, factor, patience, cooldown, eps
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.min_lr = [0] * len(rates.now) if min_lr is None else min_lr
        self.best = best if best is not None else math.inf if mode == "min" else -math.inf
        self.num_bad_epochs, self.cooldown_counter = num_bad_epochs, cooldown_counter

    def step(self, metric):
        current = float(metric)
        self.last_epoch += 1
        if self.is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            lower = [max(rate * self.factor, low) for rate, low in zip(self.rates.now, self.min_lr, strict=True)]
            self.rates.set([new if old - new > self.eps else old for old, new in zip(self.rates.now, lower, strict=True)])

    def is_better(self, current):
        if self.threshold_mode == "abs":
            return current < self.best - self.threshold if self.mode == "min" else current > self.best + self.threshold
        if self.mode == "min":
            return current < self.best * (1.0 - self.threshold)
        return current > self.best * (self.threshold + 1.0)


class ChainedScheduler:
    """All of them, one after the other, each step."""

    def __init__(self, schedules):
        self.schedules, self.rates = schedules, schedules[0].rates

    def step(self):
        for schedule in self.schedules:
            schedule.step()

    def get_last_lr(self):
        return list(self.rates.now)

    def state_dict(self):
        return {"schedules": [schedule.state_dict() for schedule in self.schedules]}

    def load_state_dict(self, state):
        for schedule, held in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(held)


class SequentialLR(ChainedScheduler):
    """One schedule after the other; each begins at its milestone."""

    def __init__(self, schedules, milestones, last_epoch=0):
        super().__init__(schedules)
        self.milestones, self.last_epoch = milestones, last_epoch

    def step(self):
        self.last_epoch += 1
        place = bisect_right(self.milestones, self.last_epoch)
        if place > 0 and self.milestones[place - 1] == self.last_epoch:
            self.schedules[place].restart()
        else:
            self.schedules[place].step()

    def state_dict(self):
        return {"last_epoch": self.last_epoch, **super().state_dict()}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.last_epoch = state["last_epoch"]
