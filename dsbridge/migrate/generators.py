"""The generators that a loader's order and samples may come from: the global ones, and those it holds."""

from __future__ import annotations

from typing import Any

from dsbridge.frameworks.rng import RngState


def states_of(loader: Any) -> dict[str, Any]:
    """Their states now, as plain data: "torch", "numpy", "random", and "own" (None for a part without a generator).

    >>> import torch
    >>> states_of(torch.utils.data.DataLoader([1, 2]))["own"]
    [None, None, None]
    """
    world = RngState.capture()
    own = [None if one is None else one.get_state() for one in (getattr(part, "generator", None) for part in _parts(loader))]
    return {"torch": world.torch, "numpy": world.numpy, "random": world.python, "own": own}


def restore(loader: Any, states: dict[str, Any]) -> None:
    """Put them back."""
    RngState(states["random"], states["numpy"], states["torch"]).restore()
    for part, state in zip(_parts(loader), states["own"], strict=True):
        if state is not None:
            part.generator.set_state(state)


def _parts(loader: Any) -> tuple[Any, Any, Any]:
    return loader, loader.sampler, getattr(loader, "batch_sampler", None)
