"""What an optimizer has gathered: torch's in the one that goes on, and all of its own."""

from __future__ import annotations

import mindspore as ms
from mindspore import ops


def load_optimizer(optimizer, state):
    """Put torch's moments and counts into the optimizer; ``state``: "moment.parameter" or "count" -> array.

    Raises ``ValueError`` for what the optimizer has no place of that shape for; nothing is written then.
    """
    names = getattr(optimizer, "averaged_names", [parameter.name for parameter in optimizer.parameters])
    places = {name: place for place, name in enumerate(names)}
    found = []
    for key, array in state.items():
        attribute, _, name = key.partition(".")
        held = getattr(optimizer, attribute, None)
        if held is None or (name and name not in places):
            raise ValueError(f"the optimizer has no {attribute} of {name or 'all parameters'}")
        parameter = held[places[name]] if name else held
        if parameter.shape != array.shape:
            raise ValueError(f"{key} has the shape {array.shape}, the optimizer's has {parameter.shape}")
        found.append((parameter, array))
    for parameter, array in found:
        ops.assign(parameter, ms.Tensor(array, parameter.dtype))


def gathered(optimizer):
    """All that an optimizer of mindspore.experimental has gathered, by name: weights, moments, counts, rates.

    What MindSpore keeps in plain lists (NAdam's mu_product, ASGD's mu and eta, the rates) is in no get_parameters().
    """
    lists = [value for value in vars(optimizer).values() if isinstance(value, list)]
    listed = [one for value in lists for one in value if isinstance(one, ms.Parameter)]
    return {parameter.name: parameter for parameter in (*optimizer.get_parameters(), *listed)}
