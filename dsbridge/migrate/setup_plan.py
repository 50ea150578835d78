"""``dsb.migrate.plan``: what a setup becomes, as text that can be read before anything is written; written; proven."""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dsbridge.errors import MigrationError
from dsbridge.frameworks.detect import require_mindspore, require_torch
from dsbridge.migrate.emitted import emitted
from dsbridge.migrate.missing import PLACES
from dsbridge.migrate.page import parity_page, verify_script
from dsbridge.migrate.setup import TrainingSetup
from dsbridge.migrate.setup_report import SetupReport
from dsbridge.migrate.verify import verify
from dsbridge.report import Report, Reported

KEPT = "recording.pkl"


def plan(setup: TrainingSetup, network: Any = None, *, steps: int = 24) -> SetupPlan:
    """What a setup becomes in MindSpore: model.py, data.py, train.py and their weights; nothing is written yet.

    A setup of live objects is trained on copies for ``steps`` steps first, so that there is something to compare with. What
    cannot be moved is an error in ``report`` and a ``raise NotImplementedError`` with file and line in the files. Raises
    ``MigrationError`` for ``network``: cells of one's own are not taken.
    """
    require_torch("migrating a training setup")
    require_mindspore("migrating a training setup")
    if network is not None:
        raise MigrationError(
            f"plan writes the network itself; {type(network).__name__} was given",
            hint="leave network= out, or move weights into it with dsb.checkpoint.convert",
        )
    return SetupPlan(setup, steps)


class SetupPlan(Reported):
    """A setup in MindSpore.

    ``files``: the text of each, by name; ``report``: what was found; ``parity``: what ``verify`` measured, None before.
    """

    report: Report

    def __init__(self, setup: TrainingSetup, steps: int) -> None:
        self.setup = setup
        setup.recorded(steps)
        self.report = Report("migrate", setup.report.findings)
        self._made = emitted(setup, self.report)
        self.files: dict[str, str] = self._made.files
        self.parity: SetupReport | None = None

    def verify(self, steps: int = 24) -> SetupReport:
        """Replay up to ``steps`` recorded steps in PyNative and graph mode, each a process of its own, beside torch.

        Losses of each batch, learning rates, final weights, the same resumed halfway, batches of data.py bit by bit, and three
        steps taken apart from torch's own state: loss, gradients, the step that weights take. Dropout and the like are off on
        both sides. ``report.stage`` names the first stage that differs. A setup that cannot be moved whole is not run: its
        report says why. Where nothing but its data is missing, what was recorded is replayed; the report is not ok then.
        """
        missing = [one for one in self.report if one.severity == "error"]
        if self._made.migrated is None or any(PLACES.get(one.code) != "data" for one in missing):
            self.parity = SetupReport()
            self.parity.extend(missing)
            self.parity.add("not-run", "error", "verify", "the setup is not whole, so nothing was replayed")
            return self.parity
        with tempfile.TemporaryDirectory(prefix="dsbridge-migrate-") as folder:
            self._write(Path(folder))
            self.parity = verify(Path(folder), self.setup.recorded(), self.setup.pattern, self._made.migrated, steps)
        self.parity.extend(missing)
        return self.parity

    def verify_folder(self, folder: str | os.PathLike[str], steps: int = 24) -> SetupReport:
        """The same with the files of a folder that ``write`` wrote, as they are now."""
        if self._made.migrated is None:
            raise MigrationError("there is no model to compare with", hint="read the plan's report")
        return verify(Path(folder), self.setup.recorded(), self.setup.pattern, self._made.migrated, steps)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write model.py, data.py, train.py, weights, state.json, optimizer.npz if it has a state, PARITY.md and verify.py.

        The folder is made. Files of a setup that cannot be moved whole stop where something is missing. Raises
        ``VerificationError`` if ``verify`` found a difference.
        """
        if self.parity is not None and self.report.ok:
            self.parity.raise_if_failed()
        self._write(Path(folder))

    def _write(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        made = self._made
        for name, text in made.files.items():
            (out / name).write_text(text)
        for name, content in made.binary.items():
            (out / name).write_bytes(content)
        if made.arrays:
            np.savez(out / "arrays.npz", **made.arrays)
        if made.migrated is not None:
            made.migrated.write_weights(out / "weights.safetensors")
        (out / "PARITY.md").write_text(parity_page(self.setup, self.report, self.parity))
        (out / "verify.py").write_text(verify_script())
        (out / KEPT).write_bytes(pickle.dumps(_kept(self.setup), protocol=pickle.HIGHEST_PROTOCOL))

    @property
    def ok(self) -> bool:
        """True unless a finding, of the plan or of the proof, is an error."""
        return self.report.ok and (self.parity is None or self.parity.ok)

    def to_dict(self) -> dict[str, Any]:
        """Files, findings and what was measured, as plain data."""
        parity = None if self.parity is None else self.parity.to_dict()
        return {
            "ok": self.ok,
            "setup": self.setup.to_dict(),
            "files": self.files,
            "report": self.report.to_dict(),
            "parity": parity,
        }

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {len(text.splitlines())} lines" for name, text in self.files.items())
        parity = [] if self.parity is None else [str(self.parity)]
        return "\n".join([str(self.setup).rpartition("\nsetup:")[0], sizes, str(self.report), *parity])

    def __repr__(self) -> str:
        return f"<SetupPlan of {self.setup!r}, {len(self.files)} files, ok={self.ok}>"


def _kept(setup: TrainingSetup) -> dict[str, Any]:
    """What verify.py needs."""
    script = None if setup.script is None else str(setup.script)
    return {"recording": setup.recorded(), "pattern": setup.pattern, "script": script, "args": setup.args}


def verify_written(folder: str | os.PathLike[str], steps: int = 24) -> SetupReport:
    """Measure a written folder again, with its files as they are now; needs what torch's objects need to be unpickled.

    Raises ``MigrationError`` if the folder holds no recording.
    """
    from dsbridge.migrate.setup import from_recording

    file = Path(folder) / KEPT
    if not file.exists():
        raise MigrationError(f"{folder} holds no {KEPT}", hint="it is written by plan.write")
    kept = pickle.loads(file.read_bytes())
    script = Path(kept["script"]) if kept["script"] else None
    setup = from_recording(kept["recording"], script, kept["args"], kept["pattern"])
    made = SetupPlan(setup, steps)
    return made.verify_folder(folder, steps) if made.report.ok else made.verify(steps)
