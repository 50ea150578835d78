"""How the windows of convolutions and pooling lie on their input, in both frameworks, and where they lie differently.

MindSpore keeps some settings of pooling layers only in the primitive that it builds (read from mindspore 2.10).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that differs: ``cell`` and ``torch`` as they are printed.

    ``training``: outputs differ in training only. ``note``: a condition, e.g. at which sizes.
    """

    code: str
    cell: str
    torch: str
    training: bool = False
    note: str = ""


def attribute(layer: Any, path: str, default: Any = None) -> Any:
    """An attribute by a dotted path, the default where a step of it is missing.

    >>> attribute(3, "real.imag"), attribute(3, "no.such", 1)
    (0, 1)
    """
    for name in path.split("."):
        layer = getattr(layer, name, default)
    return layer


@dataclass(frozen=True, slots=True)
class Axis:
    """How a window moves along one axis; ``pads`` is "same" or (before, after).

    >>> Axis(3, 2, 1, "same").placed(224), Axis(3, 2, 1, (1, 1)).placed(224)      # (first window's start, windows)
    ((0, 112), (-1, 112))
    """

    kernel: int
    stride: int
    dilation: int
    pads: Any
    ceil: bool = False

    @property
    def reach(self) -> int:
        """Input elements from the first to the last that a window covers."""
        return self.dilation * (self.kernel - 1) + 1

    def placed(self, size: int) -> tuple[int, int]:
        """Where the first window starts (negative: in the padding) and how many there are, for an input of this size."""
        if self.pads == "same":
            count = -(-size // self.stride)
            return -(max((count - 1) * self.stride + self.reach - size, 0) // 2), count
        before, after = self.pads
        room = size + before + after - self.reach
        count = (-(-room // self.stride) if self.ceil else room // self.stride) + 1
        if self.ceil and (count - 1) * self.stride >= size + before:  # no window starts in the padding at the end
            count -= 1
        return -before, count

    def differs_at(self, other: Axis) -> int | None:
        """The first size, from 32 on, at which two windows lie differently; None where they never do."""
        start = max(32, self.reach, other.reach)
        sizes = range(start, start + math.lcm(self.stride, other.stride))
        return next((size for size in sizes if self.placed(size) != other.placed(size)), None)


def tuple_of(value: Any, count: int) -> tuple[Any, ...]:
    """The last ``count`` entries of a tuple (MindSpore's 1-d layers are 2-d or 3-d inside), or a single value repeated.

    >>> tuple_of(3, 2), tuple_of((1, 1, 5), 1)
    ((3, 3), (5,))
    """
    return tuple(value)[-count:] if isinstance(value, (tuple, list)) else (value,) * count


@dataclass(frozen=True, slots=True)
class Window:
    """Compares kernel (of pooling), stride, dilation and padding of convolutions and pooling over ``axes`` axes.

    ``primitive``: where MindSpore keeps the padding of a pooling layer; "" for convolutions.
    """

    axes: int
    primitive: str = ""

    def __call__(self, layer: Any, cell: Any) -> Iterator[Difference]:
        found = False
        for code in ("kernel_size", "stride", "dilation") if self.primitive else ("stride", "dilation"):
            theirs = tuple_of(getattr(layer, code, 1), self.axes)
            ours = self._dilation(cell) if code == "dilation" else tuple_of(getattr(cell, code, None), self.axes)
            if theirs != ours:
                found = True
                yield Difference(code, f"{code} {_short(ours)}", f"{_short(theirs)}")
        if not found:
            yield from self._padding(layer, cell)

    def _padding(self, layer: Any, cell: Any) -> Iterator[Difference]:
        theirs, ours = self._torch_axes(layer), self._cell_axes(cell)
        sizes = [size for a, b in zip(theirs, ours, strict=True) if (size := a.differs_at(b)) is not None]
        if not sizes:
            return
        if [axis.pads for axis in theirs] == [axis.pads for axis in ours]:
            yield Difference("ceil_mode", f"ceil_mode {ours[0].ceil}", f"{theirs[0].ceil}", note=f"at size {sizes[0]}")
            return
        mode = str(attribute(cell, "pad_mode", "pad")).lower()
        shown = f"pad_mode '{mode}'" if mode != "pad" else f"padding={_short(tuple(axis.pads for axis in ours))}"
        padding = layer.padding if isinstance(layer.padding, str) else _short(tuple_of(layer.padding, self.axes))
        yield Difference("padding", shown, f"padding={padding}", note=f"at size {sizes[0]}")

    def _dilation(self, cell: Any) -> tuple[Any, ...]:
        inner = attribute(cell, f"{self.primitive}.dilation") if self.primitive else None
        return tuple_of(inner or getattr(cell, "dilation", 1), self.axes)

    def _torch_axes(self, layer: Any) -> list[Axis]:
        padding = layer.padding
        pads = [padding] * self.axes if isinstance(padding, str) else [(p, p) for p in tuple_of(padding, self.axes)]
        return self._built(layer, getattr(layer, "dilation", 1), pads, bool(getattr(layer, "ceil_mode", False)))

    def _cell_axes(self, cell: Any) -> list[Axis]:
        mode = str(attribute(cell, "pad_mode", "pad")).lower()
        ceil = bool(attribute(cell, f"{self.primitive}.ceil_mode", False)) if self.primitive else False
        pads = [mode] * self.axes if mode != "pad" else self._explicit(cell)
        return self._built(cell, self._dilation(cell), pads, ceil or bool(getattr(cell, "ceil_mode", False)))

    def _explicit(self, cell: Any) -> list[Any]:
        primitive = attribute(cell, self.primitive) if self.primitive else None
        single = getattr(primitive, "pads", None)  # MaxPool3DWithArgmax: one number an axis
        if single is None:
            pairs = getattr(primitive, "pad_list", None) or cell.padding
            if isinstance(pairs, str):
                return [pairs] * self.axes
            if isinstance(pairs, (tuple, list)) and len(pairs) != self.axes:
                flat = tuple(pairs)[-2 * self.axes :]
                return [tuple(flat[at : at + 2]) for at in range(0, len(flat), 2)]
            single = pairs
        return [(p, p) for p in tuple_of(single, self.axes)]

    def _built(self, layer: Any, dilation: Any, pads: list[Any], ceil: bool) -> list[Axis]:
        sizes = (tuple_of(value, self.axes) for value in (layer.kernel_size, layer.stride, dilation))
        pads = [(0, 0) if one == "valid" else one for one in pads]
        return [Axis(k, s, d, p, ceil) for k, s, d, p in zip(*sizes, pads, strict=True)]


def _short(values: tuple[Any, ...]) -> str:
    values = tuple(v[0] if isinstance(v, tuple) and v[0] == v[1] else v for v in values)
    return str(values[0] if len(set(values)) == 1 else values)


def averaged(layer: Any, cell: Any) -> Iterator[Difference]:
    """What an average divides by; silent where there is no padding that could count."""
    padded = any(tuple_of(layer.padding, 3))
    ours = bool(attribute(cell, "avg_pool.count_include_pad", getattr(cell, "count_include_pad", False)))
    if padded and layer.count_include_pad != ours:
        yield Difference("count_include_pad", f"count_include_pad {ours}", str(layer.count_include_pad))
    divisors = [
        getattr(layer, "divisor_override", None) or 0,
        attribute(cell, "avg_pool.divisor_override", getattr(cell, "divisor_override", 0)) or 0,
    ]
    if divisors[0] != divisors[1]:
        yield Difference("divisor_override", f"divisor_override {divisors[1]}", str(divisors[0]))


def transposed(axes: int) -> Callable[[Any, Any], Iterator[Difference]]:
    """Stride, dilation and padding of transposed convolutions over ``axes`` axes."""
    window = Window(axes)

    def compare(layer: Any, cell: Any) -> Iterator[Difference]:
        found = list(window(layer, cell))
        if any(one.code != "padding" for one in found):
            yield from found
            return
        extra = tuple_of(layer.output_padding, axes)
        mode = str(getattr(cell, "pad_mode", "pad")).lower()
        shown = f"pad_mode '{mode}'" if mode != "pad" else f"padding={cell.padding}"
        for theirs, ours, more in zip(window._torch_axes(layer), window._cell_axes(cell), extra, strict=True):
            need = max(ours.reach - ours.stride, 0)
            pads = (need // 2, need - need // 2) if ours.pads == "same" else ours.pads
            if pads != theirs.pads:
                yield Difference("padding", shown, f"padding={_short(tuple_of(layer.padding, axes))}")
                return
            if more:  # measured: the extra row and column stay 0 on the CPU
                yield Difference("output_padding", "output_padding on the CPU fills with 0", f"output_padding={more}")
                return

    return compare
