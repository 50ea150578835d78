"""Where a cell stops being its original: the first module whose output differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dsbridge.checkpoint import forward
from dsbridge.model.convert import Draft, load_source

RTOL = 1e-5


def first_difference(
    model: Any, made: Draft, arrays: Mapping[str, Any], inputs: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[str, str] | None:
    """Run both in this process, layer by layer, in eval mode; (path, what differs there), or None where nothing does."""
    import mindspore as ms

    from dsbridge.model.child.run_cell import parameters

    network = load_source(made.source, made.root)
    found = dict(parameters(network))
    for path, array in arrays.items():
        found[path].set_data(ms.Tensor(array))
    try:
        given = {name: one.numpy() for name, one in kwargs.items()} if kwargs else tuple(one.numpy() for one in inputs)
        report = forward.verify(model, network, given, rtol=RTOL)
    except Exception as exc:
        return "", f"no layer could be named: {exc}"
    return next(((one.where, one.message) for one in report if one.code == "diverges"), None)
