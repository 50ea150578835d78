"""Live models as plain data: a torch Module's or a MindSpore Cell's tree, read without importing either framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dsbridge.checkpoint.rows import Array
from dsbridge.errors import CheckpointError
from dsbridge.frameworks import mindspore_tensors, torch_tensors
from dsbridge.frameworks.detect import is_instance
from dsbridge.schema.dtypes import lookup

_MINT = {
    name: f"mindspore.mint.nn.{name.removesuffix('Ext')}" for name in ("LayerNormExt", "EmbeddingExt", "PReLUExt", "Linear")
}
"""Classes that mint.nn exports but mindspore.nn.layer defines (MindSpore 2.10)."""
_WRAPPERS = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.CheckpointWrapper": "_checkpoint_wrapped_module",
    "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel": "_fsdp_wrapped_module",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A parameter or persistent buffer: ``path`` is where it hangs, ``name`` what files call it.

    They differ in MindSpore (a bare BatchNorm's ``moving_mean`` is named ``mean``) and for torch files with wrappers' prefixes.
    ``dtype``: a name of ``schema.dtypes``. ``tied_to``: path of an earlier leaf, the same tensor. ``value``: reads it.

    >>> Leaf("moving_mean", "mean", (4,), "float32").name
    'mean'
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    tied_to: str = ""
    value: Callable[[], Array] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Node:
    """A module: ``classes`` are the short qualified names of its class and bases, most derived first.

    ``leaves``: its own ones by name, without its children's. ``dim``: that of a spectral norm on it, if any.

    >>> Node("fc", ("torch.nn.Linear",), {}).path
    'fc'
    """

    path: str
    classes: tuple[str, ...]
    leaves: dict[str, Leaf]
    dim: int | None = None


@dataclass(frozen=True)
class Tree:
    """All modules of a model in definition order, the root (path "") first; ``framework``: "torch" or "mindspore".

    >>> Tree("torch", (Node("", ("torch.nn.Identity",), {}),)).leaves
    {}
    """

    framework: str
    nodes: tuple[Node, ...]

    @cached_property
    def by_path(self) -> dict[str, Node]:
        """The modules by path."""
        return {node.path: node for node in self.nodes}

    @cached_property
    def leaves(self) -> dict[str, Leaf]:
        """All parameters and buffers by path."""
        return {leaf.path: leaf for node in self.nodes for leaf in node.leaves.values()}


def joined(*parts: str) -> str:
    """Path components with dots between those that are not empty.

    >>> joined("", "conv", "weight")
    'conv.weight'
    """
    return ".".join(part for part in parts if part)


def short(cls: type) -> str:
    """A class's qualified name as users write it: without the frameworks' private module paths.

    >>> short(dict)
    'builtins.dict'
    """
    module, name = cls.__module__, cls.__qualname__
    if module.startswith("mindspore.nn.layer."):
        return _MINT.get(name, f"mindspore.nn.{name}")
    for prefix, public in (("mindspore.mint.nn.layer.", "mindspore.mint.nn"), ("torch.nn.modules.", "torch.nn")):
        if module.startswith(prefix):
            return f"{public}.{name}"
    return f"{module}.{name}"


def _classes(module: Any) -> tuple[str, ...]:
    return tuple(short(cls) for cls in type(module).__mro__ if cls is not object)


def tree_of(model: Any) -> Tree:
    """The tree of a torch Module or a MindSpore Cell; a ``Tree`` is handed through.

    >>> tree_of(Tree("torch", ())).framework
    'torch'
    """
    if isinstance(model, Tree):
        return model
    if is_instance(model, "torch.nn.modules.module.Module"):
        return Tree("torch", tuple(_walk(model, "_modules", _torch_leaves)))
    if is_instance(model, "mindspore.nn.cell.Cell"):
        return Tree("mindspore", tuple(_walk(model, "_cells", _cell_leaves)))
    raise CheckpointError(f"a {type(model).__module__}.{type(model).__qualname__} is no torch Module and no MindSpore Cell")


def _walk(root: Any, children: str, leaves: Callable[[Any, str], Iterable[tuple[str, Leaf, Any]]]) -> Iterator[Node]:
    # By hand: named_modules and cells_and_names leave out the second path of a shared module, the state dict does not.
    first: dict[int, str] = {}
    kept: list[Any] = []  # ids are only unique while what they belong to lives
    todo = [("", root)]
    while todo:
        path, module = todo.pop(0)
        module = _unwrapped(module)
        own = {}
        for name, leaf, tensor in leaves(module, path):
            tied = first.setdefault(id(tensor), leaf.path)
            kept.append(tensor)
            own[name] = leaf if tied == leaf.path else Leaf(leaf.path, leaf.name, leaf.shape, leaf.dtype, tied, leaf.value)
        yield Node(path, _classes(module), own, _spectral_dim(module))
        todo[:0] = [(joined(path, name), child) for name, child in getattr(module, children).items() if child is not None]


def _unwrapped(module: Any) -> Any:
    while True:
        inner = next((child for cls, child in _WRAPPERS.items() if is_instance(module, cls)), "")
        if not inner:
            return module
        module = module._modules[inner]


def _spectral_dim(module: Any) -> int | None:
    if is_instance(module, "torch.nn.utils.parametrizations._SpectralNorm"):
        return int(module.dim)
    hooks = getattr(module, "_forward_pre_hooks", None) or {}
    found = [hook for hook in hooks.values() if is_instance(hook, "torch.nn.utils.spectral_norm.SpectralNorm")]
    return int(found[0].dim) if found else None


def _torch_leaves(module: Any, path: str) -> Iterator[tuple[str, Leaf, Any]]:
    held = {k: v for k, v in module._buffers.items() if k not in module._non_persistent_buffers_set}
    for name, tensor in {**module._parameters, **held}.items():
        if tensor is not None:
            at = joined(path, name)
            dtype = lookup(tensor.dtype).name
            yield name, Leaf(at, at, tuple(tensor.shape), dtype, value=_reader(torch_tensors.to_numpy, tensor)), tensor


def _cell_leaves(cell: Any, path: str) -> Iterator[tuple[str, Leaf, Any]]:
    skipped = getattr(cell, "_non_persistent_buffers_set", ())
    held = {k: v for k, v in (getattr(cell, "_buffers", None) or {}).items() if k not in skipped}
    for name, tensor in {**cell._params, **held}.items():
        if tensor is not None:
            at = joined(path, name)
            known = at if name in held else tensor.name
            dtype = lookup(str(tensor.dtype)).name
            yield name, Leaf(at, known, tuple(tensor.shape), dtype, value=_reader(mindspore_tensors.to_numpy, tensor)), tensor


def _reader(to_numpy: Callable[[Any], Array], tensor: Any) -> Callable[[], Array]:
    return lambda: to_numpy(tensor)
