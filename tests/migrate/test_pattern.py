"""Events of a run become the pattern of its steps; what does not fit is said with file and line."""

from __future__ import annotations

from typing import Any

import pytest

from dsbridge.migrate.pattern import Pattern, pattern
from dsbridge.migrate.recording import Event, Micro, Recording, Step

LOADER, OPTIMIZER, SCHEDULER = 1, 2, 3
PLACES = {"batch": 10, "backward": 11, "clip_norm": 12, "step": 13, "schedule": 14, "zero": 15}


def recorded(text: str, **more: Any) -> Recording:
    """Events by letters: e(poch), b(atch), l(oss backwards), o(ptimizer), s(chedule), n (end), O (another optimizer), E: an
    evaluation's batch."""
    kinds: dict[str, tuple[str, Any]] = {
        "e": ("epoch", LOADER), "b": ("batch", (LOADER, True)), "E": ("batch", (LOADER, False)), "l": ("backward", None),
        "o": ("step", (OPTIMIZER, "SGD", False)), "O": ("step", (9, "Adam", False)), "c": ("step", (OPTIMIZER, "LBFGS", True)),
        "s": ("schedule", (SCHEDULER, "StepLR", [])), "m": ("schedule", (SCHEDULER, "ReduceLROnPlateau", [0.5])),
        "S": ("schedule", (8, "StepLR", [])), "n": ("end", LOADER), "z": ("zero", None), "k": ("clip_norm", 1.0),
        "a": ("average", (7, True)),
    }  # fmt: skip
    made = Recording(training_loader=LOADER, optimizer=OPTIMIZER, **more)
    micros: list[Micro] = []
    clips: list[Any] = []
    for letter in text:
        kind, value = kinds[letter]
        made.events.append(Event(kind, ("train.py", PLACES.get(kind, 1)), value))
        if kind == "backward":
            micros.append(Micro([], 1.0, (None, None)))
        elif kind == "clip_norm":
            clips.append(("norm", 1.0, {"all": True}))
        elif kind == "step":
            made.steps.append(Step(micros, [{"lr": 0.1}], clips, 0.0))
            micros, clips = [], []
    return made


def codes(found: Pattern) -> list[str]:
    return [code for code, _, _ in found.said]


def test_a_plain_loop_has_nothing_to_say() -> None:
    found = pattern(recorded("ebzlobzlobzlonebzlo"))
    assert (found.accumulate, found.scheduler_every, found.said) == (1, "", [])
    assert (found.epochs, found.ended) == ([3, 1], False)


def test_gradients_of_two_batches_make_a_step() -> None:
    found = pattern(recorded("eblbloblblonebl"))
    assert found.accumulate == 2


def test_what_is_left_of_an_epoch_counts_for_the_next_ones_first_step() -> None:
    found = pattern(recorded("eblblobln" + "eblblobln"))
    assert (found.accumulate, found.rest, found.said, found.epochs) == (2, False, [], [3, 2])


def test_the_rest_of_an_epoch_makes_a_step_of_its_own() -> None:
    found = pattern(recorded("eblblobloneblblo"))
    assert (found.accumulate, found.rest, found.said) == (2, True, [])


def test_an_evaluation_on_the_training_loader_is_no_epoch() -> None:
    assert pattern(recorded("eblonseEneblonseEneblon")).said == []


def test_schedules_step_by_steps_or_by_epochs() -> None:
    assert pattern(recorded("eblosblosn")).scheduler_every == "step"
    found = pattern(recorded("eblobloneEEsebloblons"))
    assert found.scheduler_every == "epoch"
    assert found.schedules == [(2, SCHEDULER, []), (4, SCHEDULER, [])]


@pytest.mark.parametrize(
    ("events", "code", "line"),
    [
        ("eblobloO", "two-optimizers", 13),
        ("eblc", "closure", 13),
        ("eblobblo", "steps-skipped", 10),
        ("ebllo", "several-backwards", 10),
        ("eblbloblo", "steps-irregular", 10),
        ("eblbloblnoeblblo", "steps-irregular", 10),
        ("esblosblo", "schedule-first", 14),
        ("eblosbloblos", "schedule-irregular", 14),
        ("eblosblosbloblo", "schedule-irregular", 14),
        ("ebloblonebloblons", "schedule-irregular", 14),
        ("eblonseblonebloneblons", "schedule-irregular", 14),
        ("eblosbloS", "two-schedules", 14),
    ],
)
def test_what_does_not_fit_is_said_with_its_line(events: str, code: str, line: int) -> None:
    found = pattern(recorded(events))
    assert code in codes(found), found.said
    where = next(where for said, where, _ in found.said if said == code)
    assert where == ("train.py", line)


def test_a_metric_is_remembered_with_its_place() -> None:
    found = pattern(recorded("eblonmeblonm"))
    assert found.metric_at == ("train.py", 14)
    assert found.schedules == [(1, SCHEDULER, [0.5]), (2, SCHEDULER, [0.5])]


def test_clipping_that_changes_is_said() -> None:
    assert pattern(recorded("eblkoblko")).clips == (("norm", 1.0),)
    assert "clips-irregular" in codes(pattern(recorded("eblkoblo")))
    some = recorded("eblko")
    some.steps[0].clips = [("norm", 1.0, {"all": False})]
    assert "clips-some" in codes(pattern(some))


def test_gradients_that_are_kept_are_said() -> None:
    assert "gradients-kept" in codes(pattern(recorded("eblo", carried=True)))
