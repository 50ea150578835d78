"""Names of torch's functions, and those that return plain Python values."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import resolve_name

# what a plain Python value comes out of, that does not depend on the values of tensors
ASKING = {
    *("dtype", "device", "requires_grad", "is_cuda", "is_leaf", "is_quantized", "is_nested", "is_sparse", "is_meta", "layout"),
    *("ndim", "dim", "is_floating_point", "is_complex", "is_contiguous", "grad_fn", "grad", "names", "__hash__", "is_mps"),
    *("element_size", "get_device", "_version", "_is_view", "_base", "_backward_hooks", "is_mkldnn", "is_xla", "_assert"),
    *("is_tensor", "is_same_size", "numel", "nelement", "__len__", "storage_offset", "stride", "__format__", "__repr__"),
    *("can_cast", "result_type", "promote_types", "finfo", "iinfo", "broadcast_shapes", "is_grad_enabled", "__get__"),
}
READING = {"item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__", "__contains__", "equal", "allclose"}
# calls that give something else each time, whatever they are given
RANDOM = {
    *("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "normal", "poisson", "multinomial"),
    *("bernoulli", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_", "random_", "uniform_"),
    *("dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout", "alpha_dropout_"),
    *("feature_alpha_dropout", "native_dropout", "rrelu", "rrelu_", "gumbel_softmax", "binomial"),
}


def short_name(func: Any) -> str:
    """The last part of a torch function's name; of a getter, the attribute's.

    >>> short_name(torch.nn.functional.relu), short_name(torch.Tensor.shape.__get__)
    ('relu', 'shape')
    """
    if func is torch.Tensor.unfold:  # torch.nn.functional's is another
        return "unfold_axis"
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return str(getattr(getattr(func, "__self__", None), "__name__", name))
    return name or (resolve_name(func) or repr(func)).rpartition(".")[2]
