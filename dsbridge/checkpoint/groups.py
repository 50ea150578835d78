"""Which stored tensors stand for one parameter: weight_norm's g and v, spectral_norm's weight, u and v."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dsbridge.checkpoint.norm_folds import FoldSpectralNorm, FoldWeightNorm
from dsbridge.checkpoint.rows import Operation
from dsbridge.checkpoint.trees import Leaf, Tree, joined


@dataclass(frozen=True, slots=True)
class Group:
    """Source tensors that stand for one parameter: a single one, or what a normalised weight is stored as.

    ``path``: the parameter's. ``operations``: what makes it of the ``sources``. ``main``: which source has its shape and dtype.
    ``doubt``: why the operations may be wrong, if they may.

    >>> Group("w", (Leaf("w", "w", (2,), "float32"),)).shape
    (2,)
    """

    path: str
    sources: tuple[Leaf, ...]
    operations: tuple[Operation, ...] = ()
    main: int = 0
    doubt: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's shape."""
        return self.sources[self.main].shape

    @property
    def dtype(self) -> str:
        """The parameter's dtype."""
        return self.sources[self.main].dtype


_STYLES = (
    # torch.nn.utils.parametrizations
    (".parametrizations.{}.original1", (".parametrizations.{}.original0", ".parametrizations.{}.original1"), "_WeightNorm"),
    (
        ".parametrizations.{}.original",
        (".parametrizations.{}.original", ".parametrizations.{}.0._u", ".parametrizations.{}.0._v"),
        "_SpectralNorm",
    ),
    # torch.nn.utils, the older way
    (".{}_v", (".{}_g", ".{}_v"), "_WeightNorm"),
    (".{}_orig", (".{}_orig", ".{}_u", ".{}_v"), "_SpectralNorm"),
)


def groups_of(leaves: dict[str, Leaf], tree: Tree | None, wanted: Collection[str] = ()) -> dict[str, Group]:
    """The leaves of a torch model by the path of the parameter they stand for: weight_norm and spectral_norm are folded.

    ``tree``: of the live model, where there is one: it knows ``dim`` and other parametrizations, which are left as they are.
    ``wanted``: paths that the target has; parts that it wants themselves are not folded.

    >>> g, v = Leaf("fc.weight_g", "", (2, 1), "float32"), Leaf("fc.weight_v", "", (2, 3), "float32")
    >>> list(groups_of({g.path: g, v.path: v}, None))
    ['fc.weight']
    >>> list(groups_of({g.path: g, v.path: v}, None, {"fc.weight_g", "fc.weight_v"}))
    ['fc.weight_g', 'fc.weight_v']
    """
    found: dict[str, Group] = {}
    used: set[str] = set()
    for path in leaves:
        group = _folded(path, leaves, tree)
        if group is not None and not all(leaf.path in wanted for leaf in group.sources):
            used.update(leaf.path for leaf in group.sources)
            found[path] = group
    return {
        (found[path].path if path in found else path): found.get(path) or Group(path, (leaf,))
        for path, leaf in leaves.items()
        if path in found or path not in used
    }


def _folded(path: str, leaves: dict[str, Leaf], tree: Tree | None) -> Group | None:
    for ending, parts, kind in _STYLES:
        for name in _stems(f".{path}", ending):
            owner = f".{path}"[: -len(ending.format(name))]
            places = [(owner + part.format(name))[1:] for part in parts]
            if not all(place in leaves for place in places) or not _is_norm(
                f"{owner}.parametrizations.{name}", kind, ending, tree
            ):
                continue
            sources = tuple(leaves[place] for place in places)
            at = joined(owner[1:], name)
            if kind == "_WeightNorm":
                return Group(at, sources, (FoldWeightNorm(),), main=1)
            dim, doubt = _dim(owner[1:], name, sources, tree)
            return Group(at, sources, (FoldSpectralNorm(dim),), doubt=doubt)
    return None


def _stems(path: str, ending: str) -> list[str]:
    """What ``{}`` in the ending can be: the last component of the path for the old style, the one before for the new."""
    before, after = ending.split("{}")
    if not path.endswith(after):
        return []
    stem = path[: len(path) - len(after)]
    name = stem.rpartition(".")[2]
    return [name] if name and stem.endswith(before + name) else []


def _is_norm(path: str, kind: str, ending: str, tree: Tree | None) -> bool:
    if tree is None or "parametrizations" not in ending:
        return True
    node, second = tree.by_path.get(f"{path[1:]}.0"), tree.by_path.get(f"{path[1:]}.1")
    return node is not None and second is None and any(cls.endswith(f".{kind}") for cls in node.classes)


def _dim(owner: str, name: str, sources: tuple[Leaf, ...], tree: Tree | None) -> tuple[int, str]:
    if tree is not None:
        for place in (f"{joined(owner, 'parametrizations', name)}.0", owner):
            node = tree.by_path.get(place)
            if node is not None and node.dim is not None:
                return node.dim % len(sources[0].shape), ""
    fits = [dim for dim, rows in enumerate(sources[0].shape) if (rows,) == sources[1].shape] or [0]
    return fits[0], f"the spectral norm's dim may be any of {fits}; a live model tells" if len(fits) > 1 else ""
