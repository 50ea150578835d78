"""Where a loader stands: what ``state_dict`` saves and ``load_state_dict`` goes on from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dsbridge.errors import SchemaError
from dsbridge.frameworks.rng import RngState, generator_hex, generator_state

VERSION = 1


@dataclass(slots=True)
class Generators:
    """The states of the global generators and of those a loader holds, as they were at one moment.

    >>> Generators.capture([]).own
    []
    """

    world: RngState
    own: list[Any]

    @classmethod
    def capture(cls, generators: list[Any]) -> Generators:
        """The states now."""
        return cls(RngState.capture(), [g.get_state() for g in generators])

    def restore(self, generators: list[Any], *, world: bool = True) -> None:
        """Put them back, those of the ``world`` only if asked to."""
        if len(generators) != len(self.own):
            raise SchemaError(
                f"the state holds {len(self.own)} generators, the loader has {len(generators)}",
                hint="make the loader with the same sampler and generator arguments",
            )
        if world:
            self.world.restore()
        for generator, state in zip(generators, self.own, strict=True):
            generator.set_state(state)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"world": self.world.to_dict(), "own": [generator_hex(state) for state in self.own]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Generators:
        """The inverse of ``to_dict``."""
        return cls(RngState.from_dict(data["world"]), [generator_state(text) for text in data["own"]])


@dataclass(slots=True)
class Workers:
    """Where the workers of an iteration stood behind the batches that were delivered (rng="torch").

    ``drew``: whether this iteration drew the base seed, or went on with workers that had it. ``journals`` has a ``read()``
    that gives one record a worker.
    """

    base_seed: int
    drew: bool
    journals: Any

    def read(self) -> list[bytes]:
        """The workers' records."""
        return self.journals.read()  # type: ignore[no-any-return]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"base_seed": self.base_seed, "drew": self.drew, "journals": [record.hex() for record in self.read()]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Workers:
        """The inverse of ``to_dict``."""
        return cls(data["base_seed"], data["drew"], _Read([bytes.fromhex(text) for text in data["journals"]]))


@dataclass(slots=True)
class _Read:
    records: list[bytes]

    def read(self) -> list[bytes]:
        return self.records


@dataclass(slots=True)
class Progress:
    """One iteration as far as it has come; kept by the loader after the iterator is gone.

    ``position`` counts batches delivered in order, ``ahead`` are positions behind a gap (in_order=False), ``samples`` counts
    the samples taken from a stream; ``start`` holds the generators before anything was drawn, ``sampler`` the index
    sampler of this epoch.
    """

    epoch: int
    start: Generators
    sampler: Any
    sampler_epoch: int | None
    position: int = 0
    samples: int = 0
    finished: bool = False
    ahead: set[int] = field(default_factory=set)
    workers: Workers | None = None

    def deliver(self, position: int) -> None:
        """The batch at this position is on its way to the user.

        >>> progress = Progress(0, Generators.capture([]), None, None)
        >>> for position in (1, 2, 0, 5):
        ...     progress.deliver(position)
        >>> progress.position, progress.ahead
        (3, {5})
        """
        self.ahead.add(position)
        while self.position in self.ahead:
            self.ahead.remove(self.position)
            self.position += 1


@dataclass(slots=True)
class Saved:
    """A state as it was loaded; ``start`` is None where no iteration was under way."""

    epoch: int
    pinned: bool
    seed: int | None
    position: int
    samples: int
    start: Generators | None
    now: Generators
    sampler_epoch: int | None
    setting: dict[str, Any] = field(default_factory=dict)
    ahead: set[int] = field(default_factory=set)
    workers: Workers | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data: numbers, strings, lists; ready for JSON or a checkpoint."""
        return {
            "version": VERSION,
            "setting": self.setting,
            "epoch": self.epoch,
            "pinned": self.pinned,
            "seed": self.seed,
            "position": self.position,
            "samples": self.samples,
            "start": None if self.start is None else self.start.to_dict(),
            "now": self.now.to_dict(),
            "sampler_epoch": self.sampler_epoch,
            "ahead": sorted(self.ahead),
            "workers": None if self.workers is None else self.workers.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Any, setting: dict[str, Any]) -> Saved:
        """Read a state; raises ``SchemaError`` if it is none, or was saved by a loader with another ``setting``."""
        if not isinstance(data, dict) or data.get("version") != VERSION:
            found = data.get("version") if isinstance(data, dict) else type(data).__name__
            raise SchemaError(
                f"not a loader state of version {VERSION} (got {found!r})", hint="pass what loader.state_dict() returned"
            )
        differing = {k: (data["setting"].get(k), v) for k, v in setting.items() if data["setting"].get(k) != v}
        if differing:
            text = ", ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in differing.items())
            raise SchemaError(
                f"the state was saved by another kind of loader: {text}", hint="make the loader with the same arguments"
            )
        return cls(
            epoch=data["epoch"],
            pinned=data["pinned"],
            seed=data["seed"],
            position=data["position"],
            samples=data["samples"],
            start=None if data["start"] is None else Generators.from_dict(data["start"]),
            now=Generators.from_dict(data["now"]),
            sampler_epoch=data["sampler_epoch"],
            setting=data["setting"],
            ahead=set(data["ahead"]),
            workers=None if data["workers"] is None else Workers.from_dict(data["workers"]),
        )
