"""Who runs when: contenders take turns, A B C A B C, each in a process of its own, so that the hour's noise hits all alike."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from dsbridge.bench.contenders import CONTENDERS, Case, Contender, find
from dsbridge.bench.epoch import Run
from dsbridge.bench.memory import PeakMemory
from dsbridge.bench.process import ContenderFailedError, ContenderProcess
from dsbridge.bench.results import Entry, Machine, Results, WorkloadResult
from dsbridge.bench.workloads import WORKLOADS

FEWEST_BATCHES = 8  # of an epoch: what was loaded ahead before the first batch must not make up most of it
_PERSISTENT = ("dsbridge", "torch")  # whose second epoch with workers that stay is measured
_SECOND_BATCHES = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. ``loader`` ("module:name") replaces the workloads by the user's own loader.

    An epoch gets as many batches as fit into ``budget_s`` at the contender's own speed, at most the workload's number;
    ``batches`` sets that number for all. A request to a contender fails after ``limit_s``.

    >>> Plan(workloads=("tiny",), contenders=("torch",))
    Plan(tiny; torch; 2 workers, 5 rounds)
    """

    workloads: tuple[str, ...] = tuple(WORKLOADS)
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    loader: str = ""
    workers: int = 2
    rounds: int = 5
    batches: int | None = None
    distinct: int | None = None
    budget_s: float = 1.5
    limit_s: float = 60.0
    memory: bool = True

    def __repr__(self) -> str:
        what = self.loader or ", ".join(self.workloads)
        return f"Plan({what}; {', '.join(self.contenders)}; {self.workers} workers, {self.rounds} rounds)"


@dataclass(slots=True)
class _Player:
    """A contender in one workload: what is known of it so far."""

    contender: Contender
    case: Case
    runs: list[Run] = field(default_factory=list)
    status: str = "ok"
    reason: str = ""
    peak_pss_bytes: int | None = None
    second_first_s: float | None = None
    stats: dict[str, Any] | None = None

    def entry(self) -> Entry:
        return Entry(
            self.contender.name,
            self.contender.title,
            self.status,
            self.reason,
            tuple(self.runs),
            self.peak_pss_bytes,
            self.second_first_s,
            self.stats,
        )


class Runner:
    """Runs a plan; a context manager, and whatever happens inside it, no process is left behind it.

    >>> with Runner(Plan(workloads=(), contenders=())) as runner:
    ...     runner.run()
    Results(0 workloads, 2 workers, 5 rounds)
    """

    def __init__(self, plan: Plan, progress: Callable[[str], object] = lambda text: None) -> None:
        self.plan, self._progress = plan, progress
        self._processes: dict[str, ContenderProcess] = {}
        self._workers, self._batch_size = plan.workers, 1

    def run(self) -> Results:
        """Run everything. A contender that fails is an entry of the results; ``UsageError`` and Ctrl-C pass through."""
        load = os.getloadavg()[0]
        plan = self.plan
        if plan.loader:
            entries = self._play("")
            results = [WorkloadResult(plan.loader, plan.loader, self._batch_size, entries)]
        else:
            chosen = [WORKLOADS[name] for name in plan.workloads]
            results = [WorkloadResult(w.name, w.title, w.batch_size, self._play(w.name)) for w in chosen]
        return Results(self._workers, plan.rounds, Machine.here(load), tuple(results))

    def _play(self, workload: str) -> tuple[Entry, ...]:
        plan = self.plan
        players = [
            _Player(find(name, own=bool(plan.loader)), Case(name, workload, plan.loader, plan.workers, distinct=plan.distinct))
            for name in plan.contenders
        ]
        where = workload or plan.loader
        for player in players:
            self._say(f"{where}: {player.contender.name} warms up")
            self._try(player, self._calibrate)
        if plan.loader:  # the batches of a user's loader may differ much, so all get the same ones
            fewest = min((player.case.batches or 1 for player in players if player.status == "ok"), default=1)
            for player in players:
                player.case = replace(player.case, batches=fewest)
        for player in players:
            self._try(player, self._warm_up)
        for number in range(1, plan.rounds + 1):
            self._say(f"{where}: round {number} of {plan.rounds}")
            for player in players:
                self._try(player, lambda player: player.runs.append(self._epoch(player)))
        self._say(f"{where}: memory and second epochs")
        for player in players:
            self._try(player, self._finish)
        return tuple(player.entry() for player in players)

    def _try(self, player: _Player, step: Callable[[_Player], object]) -> None:
        """One step of a player that is still in; a failure takes it out, and its process with it."""
        if player.status != "ok":
            return
        try:
            step(player)
        except ContenderFailedError as exc:
            player.status, player.reason = "failed", str(exc)
            self._say(f"{player.contender.name} failed: {exc}")
            self._processes.pop(player.contender.name).kill()

    def _calibrate(self, player: _Player) -> None:
        """A short epoch, from which the size of the measured ones follows."""
        wanted = self.plan.batches or (WORKLOADS[player.case.workload].batches if player.case.workload else 1 << 20)
        player.case = replace(player.case, batches=min(wanted, FEWEST_BATCHES))
        if not self._open(player, player.case):
            return
        run = self._epoch(player)
        fitting = int(run.steady_per_s * self.plan.budget_s)
        player.case = replace(player.case, batches=min(wanted, max(fitting, FEWEST_BATCHES)))

    def _warm_up(self, player: _Player) -> None:
        self._open(player, player.case)
        self._epoch(player)

    def _finish(self, player: _Player) -> None:
        """What would disturb the measured rounds: statistics, memory, a second epoch with workers that stay."""
        player.stats = self._ask(player, {"do": "stats"})["stats"]
        if self.plan.memory:
            with PeakMemory(self._process(player).pid) as peak:
                self._epoch(player)
            player.peak_pss_bytes = peak.bytes
        if self.plan.workers and not self.plan.loader and player.case.contender in _PERSISTENT:
            batches = min(player.case.batches or _SECOND_BATCHES, _SECOND_BATCHES)
            self._open(player, replace(player.case, batches=batches, persistent=True))
            answer = self._ask(player, {"do": "second", "repeats": max(self.plan.rounds, 3)})
            player.second_first_s = answer["seconds"]
        self._ask(player, {"do": "close"})

    def _open(self, player: _Player, case: Case) -> bool:
        answer = self._ask(player, {"do": "open", "case": case.to_dict()})
        if "cannot" in answer:
            player.status, player.reason = "not run", answer["cannot"]
        elif self.plan.loader:
            self._batch_size = answer["batch_size"]
            self._workers = answer["workers"] if answer["workers"] is not None else self._workers
        return player.status == "ok"

    def _epoch(self, player: _Player) -> Run:
        return Run(**self._ask(player, {"do": "epoch"})["run"])

    def _ask(self, player: _Player, request: dict[str, Any]) -> dict[str, Any]:
        return self._process(player).ask(request, self.plan.limit_s)

    def _process(self, player: _Player) -> ContenderProcess:
        name = player.contender.name
        if name not in self._processes:
            self._processes[name] = ContenderProcess()
        return self._processes[name]

    def _say(self, text: str) -> None:
        self._progress(text)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        processes = list(self._processes.values())
        self._processes.clear()
        if exc is None:
            for process in processes:
                process.hang_up()  # all at once, then wait for each
        for process in processes:
            process.close() if exc is None else process.kill()
