"""The order of epoch e as a function of (the generators at first use, e), whoever asks and whenever.

MindSpore begins epochs early, ahead of the trainer, and on threads of its own. So the order is never drawn from the
generators the user sees, but from copies taken once: epoch 0 from their state at first use, epoch e + 1 from where
epoch e left them. That is what consecutive iterations over torch's loader give.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from dsbridge.frameworks import torch_data
from dsbridge.frameworks.detect import require_torch
from dsbridge.frameworks.rng import RngState
from dsbridge.sources.samplers import epoch_holder, generators_of, is_builtin, replay

States = tuple[Any, list[Any]]  # torch's global generator, and the loader's own


class EpochOrder:
    """Index streams by epoch. ``seed`` makes epoch e torch's order for ``manual_seed(seed + e)``.

    ``sampler`` is an index sampler (of batches or of single indices), ``generator`` the loader's. ``base_seed``: whether
    an iteration draws one, as torch's does.
    Thread-safe. torch's own samplers are replayed on copies and never touched; a user-made one is run once per
    epoch, in order, with the global generators swapped for copies while it runs.

    >>> import torch
    >>> sampler = torch.utils.data.RandomSampler(range(4))
    >>> order = EpochOrder(sampler)
    >>> _ = torch.manual_seed(0); order.first_use()
    >>> _ = torch.manual_seed(0)
    >>> expected = [list(torch.utils.data.DataLoader(range(4), shuffle=True, batch_size=None)) for _ in range(2)]
    >>> [list(order.indices(e)) for e in (0, 1)] == expected
    True
    """

    def __init__(self, sampler: Any, generator: Any = None, *, seed: int | None = None, base_seed: bool = True) -> None:
        self.sampler, self.generator, self.seed, self._base_seed = sampler, generator, seed, base_seed
        self.builtin = is_builtin(sampler)
        self.own = generators_of(sampler, generator)
        self._holder = epoch_holder(sampler)
        self._lock = threading.RLock()
        self._used = False
        self._states: dict[int, States] = {}
        self._lists: dict[int, Iterable[Any]] = {}
        self._next_custom = 0
        self._seeds: dict[int, int] = {}
        self._world: RngState | None = None
        self._epoch_offset = 0
        self._epoch_seen: int | None = None

    def __deepcopy__(self, memo: Any) -> EpochOrder:
        return self  # MindSpore deep-copies pipelines; the order of epochs is one

    def first_use(self) -> None:
        """Take the generators as they are, and advance them by one epoch's draws, as torch's ``iter`` would.

        Called on the user's thread when the first iterator is made; does nothing later.
        """
        with self._lock:
            if self._used:
                return
            self._used = True
            self._see_epoch(0)
            if not self.builtin:
                self._world = RngState.capture()
                self._run_custom(keep_world=False)
            elif self.seed is None:
                self._states[0] = self._current()
                self._lists[0] = self._replay(0)
                world, own = self._states[1]
                require_torch("shuffling").set_rng_state(world)
                for generator, state in zip(self.own, own, strict=True):
                    generator.set_state(state)

    def begin_run(self, epoch: int, oldest: int) -> None:
        """A new iterator starts at ``epoch``: honour a ``set_epoch`` the user called, forget what is before ``oldest``."""
        with self._lock:
            self._see_epoch(epoch)
            for stale in [e for e in self._states if e < oldest and e + 1 in self._states]:
                del self._states[stale]
            for stale in [e for e in self._lists if e < oldest]:
                del self._lists[stale]

    def indices(self, epoch: int) -> Iterable[Any]:
        """What the index sampler yields in this epoch."""
        with self._lock:
            self.first_use()
            if not self.builtin:
                while epoch not in self._lists and self._next_custom <= epoch:
                    self._run_custom(keep_world=True)
                return self._lists[epoch]
            if self.seed is not None:
                return self._seeded(epoch)
            if epoch in self._lists:  # made by first_use; a second iterator of this epoch replays it
                return self._lists.pop(epoch)
            known = max(e for e in self._states if e <= epoch)
            for earlier in range(known, epoch):
                self._replay(earlier)
            return self._replay(epoch)

    def base_seed(self, epoch: int) -> int:
        """The seed torch's workers would get in this epoch, whose indices were asked for before; 0 if none is drawn."""
        with self._lock:
            return self._seeds.get(epoch, 0)

    def peek(self) -> Any:
        """The first thing the next epoch yields, without a trace; None where only running the sampler would tell."""
        if not self.builtin:
            return None
        with self._lock:
            states = self._states.get(max(self._states)) if self._states else self._current()
            if self.seed is not None:
                return next(iter(self._seeded(0)), None)
            assert states is not None
            sampler, _, _ = self._copies(states, 0)
            return next(iter(sampler), None)

    def _current(self) -> States:
        return require_torch("shuffling").get_rng_state(), [g.get_state() for g in self.own]

    def _copies(self, states: States, epoch: int) -> tuple[Any, list[Any], int]:
        """The sampler over generators in these states, past the base seed; those generators; the base seed."""
        world, *own = (_generator(state) for state in (states[0], *states[1]))
        swap = {id(original): copy for original, copy in zip(self.own, own, strict=True)}
        source = world if self.generator is None else swap[id(self.generator)]
        base_seed = torch_data.draw_base_seed(source) if self._base_seed else 0
        return replay(self.sampler, swap, world, self._set_epoch(epoch)), [world, *own], base_seed

    def _replay(self, epoch: int) -> list[Any]:
        sampler, (world, *own), self._seeds[epoch] = self._copies(self._states[epoch], epoch)
        indices = list(sampler)
        self._states[epoch + 1] = world.get_state(), [g.get_state() for g in own]
        return indices

    def _seeded(self, epoch: int) -> list[Any]:
        assert self.seed is not None
        generator = torch_data.seeded_generator(self.seed + epoch)
        swap = {id(original): generator for original in self.own}
        return list(replay(self.sampler, swap, generator, self._set_epoch(epoch)))

    def _run_custom(self, *, keep_world: bool) -> None:
        """Run the user's sampler for the next epoch and keep what it yields (an unsized one: run it as it is asked for)."""
        epoch = self._next_custom
        self._next_custom += 1
        if not hasattr(self.sampler, "__len__"):
            self._lists[epoch] = self.sampler
            return
        outside = RngState.capture()
        assert self._world is not None
        self._world.restore()
        if self._holder is not None:
            self._holder.set_epoch(self._set_epoch(epoch))
            self._epoch_seen = getattr(self._holder, "epoch", None)
        if self._base_seed:
            self._seeds[epoch] = torch_data.draw_base_seed(self.generator)
        self._lists[epoch] = list(self.sampler)
        self._world = RngState.capture()
        if keep_world:
            outside.restore()

    def _set_epoch(self, epoch: int) -> int:
        return epoch + self._epoch_offset

    def _see_epoch(self, epoch: int) -> None:
        """If the sampler's epoch is not what we left it at, the user has called set_epoch: count from there."""
        now = getattr(self._holder, "epoch", None)
        if now is not None and now != self._epoch_seen:
            self._epoch_offset, self._epoch_seen = now - epoch, now


def _generator(state: Any) -> Any:
    generator = require_torch("shuffling").Generator()
    generator.set_state(state)
    return generator
