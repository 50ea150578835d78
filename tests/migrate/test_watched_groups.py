"""What is watched while a script runs, here in this process: options set by hand, frames' variables, writes to weights."""

from __future__ import annotations

import copy
import math
import pickle
import sys
from collections.abc import Callable, Iterator
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
import torch

from dsbridge.migrate.child.names import Variables
from dsbridge.migrate.child.rates import Group, frames, is_plain, watched
from dsbridge.migrate.child.tape import Recorder, Tape
from dsbridge.migrate.child.writes import written
from dsbridge.migrate.recording import Frame

WARMUP = 5


def scaled(step: int, times: float = 2.0) -> float:
    """What a script's function would be."""
    return times * min(1.0, step / WARMUP) * math.pi


class Cosine:
    """What a script's own schedule would be."""

    floor = 0.1

    def __init__(self) -> None:
        self.count, self.unread, self.weight = 3, 7, torch.ones(1)

    def rate(self) -> float:
        """Reads the object."""
        return self.floor + scaled(self.count)


def frames_here(innermost: FrameType, values: bool = True) -> list[Frame]:
    """The frames of this file, innermost first."""
    return [frame for frame in frames(innermost, values) if frame.file == __file__]


@pytest.fixture
def told() -> Iterator[list[tuple[Group, str, Any]]]:
    """What groups tell in this test."""
    said: list[tuple[Group, str, Any]] = []
    Group.tell = lambda group, key, value: said.append((group, key, value))
    yield said
    Group.tell = None


def test_groups_tell_who_sets_an_option(told: list[tuple[Group, str, Any]]) -> None:
    """By item and by update; other keys are not told."""
    optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.ones(1))]}, {"params": []}], lr=0.1)
    watched(optimizer)
    first, second = optimizer.param_groups
    watched(optimizer)
    assert optimizer.param_groups[0] is first  # once is enough
    first["lr"] = 0.2
    second.update({"momentum": 0.5}, mine=1)
    assert [(group is first, key, value) for group, key, value in told] == [(True, "lr", 0.2), (False, "momentum", 0.5)]
    assert (first["lr"], second["momentum"], second["mine"]) == (0.2, 0.5, 1)


def test_groups_are_plain_once_they_are_copied() -> None:
    group = Group(lr=0.1)
    assert type(copy.deepcopy(group)) is dict and type(pickle.loads(pickle.dumps(group))) is dict


def test_frames_hold_what_their_code_reads() -> None:
    """Variables, attributes, items, lengths, modules, functions and what those read; nothing else."""

    def adjust(args: SimpleNamespace, cfg: dict[str, float], batches: list[int], schedule: Cosine) -> list[Frame]:
        lr = args.lr * cfg["decay"] / len(batches) + scaled(4) + math.exp(0)
        assert lr != schedule.rate()
        return frames_here(sys._getframe())

    adjusting, calling = adjust(SimpleNamespace(lr=0.5, other=1), {"decay": 0.1}, [1, 2], Cosine())[:2]
    assert (adjusting.name, calling.name) == ("adjust", "test_frames_hold_what_their_code_reads")
    assert adjusting.first < adjusting.line
    kept = adjusting.values
    expected = {"args.lr": 0.5, "cfg['decay']": 0.1, "WARMUP": 5, "schedule.count": 3, "schedule.floor": 0.1, "batches": [1, 2]}
    assert {key: kept[key] for key in expected} == expected
    assert kept["lr"] == pytest.approx(0.05 / 2 + scaled(4) + 1)
    assert not {"args.other", "schedule.unread", "schedule.weight"} & kept.keys()
    assert adjusting.modules["math"] == "math"
    assert adjusting.functions["scaled"] == (__file__, scaled.__code__.co_firstlineno)
    assert adjusting.functions["schedule.rate"] == (__file__, Cosine.rate.__code__.co_firstlineno)


def test_frames_without_values_say_only_where_they_stand() -> None:
    here = frames_here(sys._getframe(), values=False)[0]
    assert (here.name, here.values, here.functions) == ("test_frames_without_values_say_only_where_they_stand", {}, {})


def test_a_length_is_kept_of_what_is_no_plain_value() -> None:
    class Loader:
        def __len__(self) -> int:
            return 12

    def step(loader: Loader) -> Frame:
        assert len(loader)
        return frames_here(sys._getframe())[0]

    assert step(Loader()).values["len(loader)"] == 12


def test_a_function_that_closes_over_something() -> None:
    """What it closes over is read, too; a variable without a value yet is none."""

    def makes(base: float) -> Callable[[int], list[Frame]]:
        def rate(step: int) -> list[Frame]:
            def later() -> float:
                return base * unset

            found = frames_here(sys._getframe())
            unset = base * step
            assert later() == base * unset
            return found

        return rate

    assert makes(0.25)(2)[0].values["base"] == 0.25


@pytest.mark.parametrize(
    ("value", "plain"),
    [(1, True), ([1, (2.0, None)], True), ({"a": {"b": True}}, True), ({1, 2}, False), ([[0] * 300, [0] * 300], False)],
)
def test_plain_values(value: Any, plain: bool) -> None:
    assert is_plain(value) is plain


def found_by(does: Callable[[torch.nn.Linear, torch.Tensor], Any]) -> list[tuple[str, int]]:
    """Codes of what ``does`` does to weights and gradients, and how many lines below its first one."""
    net = torch.nn.Linear(2, 1)
    net(torch.ones(1, 2)).sum().backward()
    kept = torch.zeros(1, 2)
    tape = Tape()
    with torch.no_grad(), Recorder(tape, lambda: True):
        does(net, kept)
    found = written(tape, net.parameters())
    assert all(place.file == __file__ for _, place, _ in found)
    return [(code, place.line - does.__code__.co_firstlineno) for code, place, _ in found]


def test_writes_beside_the_optimizer_are_found() -> None:
    def changes(net: torch.nn.Linear, kept: torch.Tensor) -> None:
        net.weight.grad.add_(1)
        net.weight.clamp_(-1, 1)
        kept.mul_(0.9).add_(net.weight)

    def only_looks(net: torch.nn.Linear, kept: torch.Tensor) -> None:
        (net.weight * 2).add_(1)
        kept.add_(1)

    assert found_by(changes) == [("gradients-changed", 1), ("weights-written", 2), ("weights-read", 3)]
    assert found_by(only_looks) == []


def test_variables_lead_to_modules_and_tensors() -> None:
    """The largest module that holds one gives its name; a number called epochs says how many are wanted."""
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    head, epochs, mask = net[0], 7, torch.ones(2)
    found = Variables()
    found.look()
    assert (found.owner(head), found.owner_of_tensor(net[1].running_mean)) == ("net.0", "net.1.running_mean")
    assert found.name(mask) == "mask"
    assert found.epochs == epochs
    other = torch.nn.Linear(1, 1)
    assert found.owner(other) == found.owner_of_tensor(other.weight) == found.name(other.bias) == ""
