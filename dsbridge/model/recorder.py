"""Runs a model on example inputs and records, module by module, what each forward does.

torch's own functions are seen through a ``TorchFunctionMode``, so that they keep their names (``F.relu``, not
``aten::relu``), while everything runs on real tensors: whatever Python code a forward contains, runs. Sizes and numeric
attributes are numbers that remember their origin, so that nothing is frozen to the example's shape.
docs/decisions/006-models.md says what else was tried."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from dsbridge.errors import Unsupported
from dsbridge.frameworks.rng import RngState
from dsbridge.model.asking import ASKING, RANDOM, READING, short_name
from dsbridge.model.calls import each, named, positional
from dsbridge.model.copies import copied
from dsbridge.model.dice import refuse_dice
from dsbridge.model.frames import Frame, equal, leaves, swapped
from dsbridge.model.hooks import no_engine, refuse_hooking, refuse_hooks
from dsbridge.model.kept import COUNTER, Kept, Writes, named_state, refuse_counters
from dsbridge.model.nodes import CALL, MODULE, NUMBER, SIZE, Node, Place, TracedInt, closure, fixed, plain, traced
from dsbridge.model.patches import autograd_functions, masks_as_given
from dsbridge.model.recording import Recording
from dsbridge.model.source import Places, lost, statement

IsLeaf = Callable[[str, torch.nn.Module], bool]  # by path
CONTAINERS = (torch.nn.ModuleList, torch.nn.ModuleDict, torch.nn.ParameterList, torch.nn.ParameterDict)


class Recorder(TorchFunctionMode):
    """Records while it is active."""

    def __init__(self, model: torch.nn.Module, original: torch.nn.Module, is_leaf: IsLeaf, dynamic: bool = True) -> None:
        """``model``: a copy of ``original``, which is not touched."""
        super().__init__()
        self._model, self._is_leaf, self._dynamic = model, is_leaf, dynamic
        self._frames: list[Frame | None] = []  # None: within a leaf, where nothing is recorded
        self._places = Places()
        self._state = named_state(model)
        self._produced: dict[int, torch.Tensor] = {}
        self.recording = Recording()
        self._below: dict[int, dict[int, str]] = {}
        self._prepared: set[int] = set()
        self._prepare("", model)
        self._kept, self._moved = Kept.of(model, original, is_leaf), set[int]()

    def _prepare(self, path: str, module: torch.nn.Module) -> None:
        """Have a module's forward recorded; numbers among its attributes remember whose they are."""
        if id(module) in self._prepared:  # several modules share it
            return
        self._prepared.add(id(module))
        leaf = self._is_leaf(path, module)
        if isinstance(module, torch.jit.ScriptModule):
            text = "its forward is compiled, which nobody can watch"
            raise Unsupported(path, type(module).__name__, "", text, "convert the module that was scripted or traced")
        if type(module) not in CONTAINERS:  # a subclass may have a forward of its own
            forward = module.forward
            wrap = self._leaf_forward if leaf else self._forward
            module.forward = wrap(module, forward)  # the copy is ours
        if leaf:
            return
        for name, value in list(vars(module).items()):
            if type(value) in (int, float) and not name.startswith("_"):
                setattr(module, name, traced(value, Node(NUMBER, (path, name), value=value)))
        for name, child in module.named_children():
            self._prepare(f"{path}.{name}" if path else name, child)

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the model."""
        with self, autograd_functions(self._call_of), masks_as_given(), no_engine(self._within):
            before = torch.get_rng_state()
            result = self._model(*args, **kwargs)
        refuse_counters(self.recording)
        self._kept.refuse_changes(self._moved, self.recording.origin)
        if self._kept.filled:
            torch.set_rng_state(before)
            self._kept.refuse_unsettled(equal(result, self._again(args, kwargs)))
        return result

    def _again(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """A second call, of which nothing is recorded."""
        self._frames.append(None)
        try:
            with self, masks_as_given():
                return self._model(*args, **kwargs)
        finally:
            self._frames.pop()

    # ---- modules

    def _path(self, outer: Frame | None, module: torch.nn.Module) -> str:
        """Where the caller has a module: of those that several share, each has its own."""
        if outer is None:
            return ""
        caller = self._model.get_submodule(outer.path)
        if id(caller) not in self._below:
            paths = list(caller.named_modules(remove_duplicate=False))
            self._below[id(caller)] = {id(one): path for path, one in reversed(paths)}
        below = self._below[id(caller)].get(id(module))
        if below is None:  # not the caller's
            return str(next(path for path, one in self._model.named_modules() if one is module))
        return f"{outer.path}.{below}" if outer.path else below

    def _forward(self, module: torch.nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(forward)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            outer = self._frames[-1] if self._frames else None
            if self._frames and outer is None:
                return forward(*args, **kwargs)
            path = self._path(outer, module)
            node = self._module_node(outer, path, args, kwargs)
            frame = Frame(path, module.training, lambda tensor: self._name(tensor, path), self._is_produced)
            bound = signature.bind(*args, **kwargs)
            for name, value in bound.arguments.items():
                bound.arguments[name] = each(signature, name, value, frame.bind)
            if node is not None:  # those that hold tensors, by position, so that both sides agree on what is passed
                passed: dict[str, Any] = {}
                for name, value in signature.bind(*node.args, **node.kwargs).arguments.items():
                    each(signature, name, value, passed.__setitem__)
                node.args, node.kwargs = tuple(passed[name] for name in frame.arguments), {}
            self._frames.append(frame)
            generators = RngState.capture()
            try:
                result = forward(*positional(signature, bound, len(args)), **named(bound, kwargs))
            finally:
                self._frames.pop()
            refuse_dice(generators, path, module)
            found = frame.finish(result, numbers=outer is not None)
            tensors = [one for one in found if isinstance(one, torch.Tensor)]
            self.recording.frames.setdefault(path, []).append(frame)
            self._note(tensors)
            if outer is not None and node is not None:
                result = swapped(result, outer.returned(found, frame.positions, node))
                self._detach(outer, tensors)
            return result

        return recorded

    def _leaf_forward(self, module: torch.nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            outer = self._frames[-1] if self._frames else None
            if outer is None and self._frames:
                return forward(*args, **kwargs)
            path = self._path(outer, module)
            node = self._module_node(outer, path, args, kwargs)
            self._frames.append(None)
            try:
                result = forward(*plain(args), **plain(kwargs))
            finally:
                self._frames.pop()
            if outer is not None and node is not None:
                outer.result(result, node)
                self._detach(outer, [leaf for leaf in leaves(result) if isinstance(leaf, torch.Tensor)])
                self.recording.leaf_calls.setdefault(path, []).append(node)
            self._note([leaf for leaf in leaves(result) if isinstance(leaf, torch.Tensor)])
            return result

        return recorded

    def _module_node(self, outer: Frame | None, path: str, args: Any, kwargs: Any) -> Node | None:
        if outer is None:
            return None
        place = self._places.here()
        what = f"call of {path}"
        return Node(MODULE, path, outer.values(args, place, what), outer.value(kwargs, place, what), place)

    def _within(self) -> tuple[str, Place]:
        """The module whose forward is under way, and the line."""
        return next((frame.path for frame in reversed(self._frames) if frame is not None), ""), self._places.here()

    # ---- functions

    def _call_of(self, name: str, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What a custom autograd function returns: one call, as what it does inside says nothing of its backward."""
        frame = self._frames[-1] if self._frames else None
        if frame is None:
            return call(*args, **kwargs)
        place = self._places.here()
        node = Node(CALL, name, frame.values(args, place, name), frame.value(kwargs, place, name), place)
        self._frames.append(None)
        try:
            result = call(*plain(args), **plain(kwargs))
        finally:
            self._frames.pop()
        frame.result(result, node)
        self._note([leaf for leaf in leaves(result) if isinstance(leaf, torch.Tensor)])
        return result

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        frame = self._frames[-1] if self._frames else None
        if frame is None:
            return func(*plain(args), **plain(kwargs))
        name = short_name(func)
        if name in ("shape", "size"):
            return self._sizes(frame, name, func, args, kwargs)
        if name in READING:
            return self._read(frame, name, func, args, kwargs)
        if name in ("numel", "nelement"):
            place = self._places.here()
            return traced(func(*args), Node(CALL, "numel", (frame.value(args[0], place, name),), value=func(*args)))
        if name in ASKING:
            return func(*plain(args), **plain(kwargs))
        place = self._places.here()
        refuse_hooking(frame.path, name, place)
        if lost(name):
            raise Unsupported(frame.path, name, str(place), f"torch does not say that it was given {lost(name)}=")
        node = Node(CALL, name, frame.values(args, place, name), frame.value(kwargs, place, name), place)  # before it writes
        writes = Writes(leaves((args, kwargs)), self._keeps)
        result = func(*plain(args), **plain(kwargs))
        if name == "batch_norm":  # its helper moves the statistics, too
            self._moved.update(id(leaf) for leaf in leaves((args[1:3], kwargs)))
        else:
            writes.refuse(frame.path, name, place)
        tensors = [leaf for leaf in leaves(result) if isinstance(leaf, torch.Tensor)]
        if tensors:
            frame.result(result, node)
            if any(_requires_grad(tensor) for tensor in leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)):
                self._detach(frame, tensors)
            self._note(tensors)
            if args and result is args[0] and isinstance(node.args[0], Node) and node.args[0] is not node:
                frame.written(node.args[0], node, place)
        elif name == "__setitem__":
            frame.result(args[0], node)
        return result

    def _sizes(self, frame: Frame, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Sizes, each of which remembers its tensor and axis."""
        plain_result = func(*plain(args), **plain(kwargs))
        if not self._dynamic:
            return plain_result
        place = self._places.here()
        node = frame.value(args[0], place, name)
        said = statement(place)
        unpacked = said.targets if said.unpacks else ()
        if isinstance(plain_result, int):
            axis = plain(args[1] if len(args) > 1 else kwargs["dim"])
            hint = said.targets[0] if len(said.targets) == 1 and not said.unpacks else ""
            return TracedInt(plain_result, Node(SIZE, axis, (node,), value=plain_result, place=place, hint=hint or ""))
        named = unpacked if len(unpacked) == len(plain_result) else ("",) * len(plain_result)
        sizes = [
            TracedInt(size, Node(SIZE, axis, (node,), value=size, place=place, hint=hint or ""))
            for axis, (size, hint) in enumerate(zip(plain_result, named, strict=True))
        ]
        return torch.Size(sizes)

    def _read(self, frame: Frame, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Python looks at a tensor's values: allowed for those that depend on nothing that changes."""
        place = self._places.here()
        for tensor in leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                node = frame.lookup(tensor, place, name)
                if not fixed(node):
                    chance = any(one.op == CALL and one.target in RANDOM for one in closure([node]))
                    others = "each time" if chance else "for other inputs"
                    text = f"Python code looks at a tensor's values, which are others {others}"
                    raise Unsupported(frame.path, name, str(place), text)
        return func(*plain(args), **plain(kwargs))

    # ---- tensors

    def _detach(self, frame: Frame, tensors: list[torch.Tensor]) -> None:
        """What was computed under ``torch.no_grad()`` within this forward has no gradient."""
        if frame.gradients and not torch.is_grad_enabled():
            for tensor in tensors:
                frame.detached(tensor)

    def _note(self, tensors: list[torch.Tensor]) -> None:
        self._produced.update((id(tensor), tensor) for tensor in tensors)

    def _is_produced(self, tensor: torch.Tensor) -> bool:
        return id(tensor) in self._produced

    def _keeps(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is the model's, and no counter of a batch norm that is written out."""
        return any(path.rpartition(".")[2] != COUNTER for path in self._state.get(id(tensor), ()))

    def _name(self, tensor: torch.Tensor, path: str) -> str | None:
        """The path of a parameter, buffer or attribute, as seen from a module; one of its own if it has several."""
        names = self._state.get(id(tensor), ())
        below = [name for name in names if not path or name.startswith(path + ".")]
        if not names:
            return None
        if not below:
            raise Unsupported(path, "forward", "", f"it uses {names[0]}, which is not its own")
        return below[0][len(path) + 1 if path else 0 :]


def record(
    model: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], is_leaf: IsLeaf,
    training: bool, dynamic: bool = True,
) -> Recording:  # fmt: skip
    """Run a copy of a model once and return what its modules did. Leaves model, inputs and generators as they were.

    ``dynamic``: sizes of tensors remember where they came from; else they are the numbers of this run.

    Raises ``Unsupported`` for what a Cell cannot do, with module path, operation and source line.
    """
    refuse_hooks(model)
    own_args = tuple(map(copy.deepcopy, args))  # one by one: a tensor that is given twice stands for two
    own_kwargs = {name: copy.deepcopy(value) for name, value in kwargs.items()}
    own = copied(model)
    own.train(training)
    recorder = Recorder(own, model, is_leaf, dynamic)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        recorder.run(own_args, own_kwargs)
    return recorder.recording


def _requires_grad(tensor: torch.Tensor) -> bool:
    with torch._C.DisableTorchFunction():
        return bool(tensor.requires_grad)
