"""How fast and how lean are conversions? Against cp and against the snippet that everybody copies, ratios in one run.

    python benchmarks/checkpoint.py [--gib 2.5] [--rounds 3] [--folder DIR] [--json FILE]

Method: a state dict of 217 float32 tensors, a quarter of it in one, written by torch.save. Contenders run in turn, each in a
process of its own, on a source in the page cache; what is timed excludes imports and includes fsync of what was written (the
snippet's save_checkpoint does none, and gets one). Medians over the rounds. RssAnon: the most that anonymous memory grew while
it ran, sampled every 5 ms; RSS: the whole process, imports and all. DIR needs four times the size.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

TENSORS = 217


def make(folder: Path, gib: float) -> None:
    """model.pth, and model.safetensors with the same tensors."""
    import torch

    total = int(gib * 2**30 / 4)
    big = total // 4
    each = (total - big) // (TENSORS - 1)
    generator = torch.Generator().manual_seed(0)
    state = {f"layers.{i}.weight": torch.rand(each, generator=generator) for i in range(TENSORS - 1)}
    state["head.weight"] = torch.rand(big, generator=generator)
    torch.save(state, folder / "model.pth")
    convert(folder / "model.pth", folder / "model.safetensors", "safetensors", read_back=False)


def convert(source: Path, target: Path, kind: str, *, read_back: bool) -> None:
    """Ours: every tensor renamed."""
    from dsbridge.checkpoint.execute import Job, execute
    from dsbridge.checkpoint.formats.mindspore_ckpt import MindSporeWriter
    from dsbridge.checkpoint.formats.registry import open_checkpoint
    from dsbridge.checkpoint.formats.safetensors_format import SafetensorsWriter
    from dsbridge.checkpoint.rows import Row

    checkpoint = open_checkpoint(source)
    rows = [
        Row((name,), (f"network.{name}",), (), (stored.shape,), (stored.dtype,), "renamed")
        for name, stored in checkpoint.tensors.items()
    ]
    writer = {"safetensors": SafetensorsWriter, "ckpt": MindSporeWriter}[kind]()
    execute(Job(rows, checkpoint, open_checkpoint, read_back=read_back), writer, target)


def snippet(source: Path, target: Path) -> None:
    """What users copy today."""
    import mindspore
    import torch

    parameters = []
    for name, value in torch.load(source, map_location="cpu").items():
        parameters.append({"name": name, "data": mindspore.Tensor(value.numpy())})
    mindspore.save_checkpoint(parameters, str(target))
    sync(target)


def copy(source: Path, target: Path) -> None:
    """cp, then fsync of the copy."""
    subprocess.run(["cp", source, target], check=True)
    sync(target)


def sync(path: Path) -> None:
    """Bring a file to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def ours(kind: str, *, read_back: bool = False) -> Callable[[Path, Path], None]:
    return lambda source, target: convert(source, target, kind, read_back=read_back)


CONTENDERS: dict[str, tuple[str, str, Callable[[Path, Path], None]]] = {
    "cp + fsync": ("model.pth", "copy.pth", copy),
    ".pth -> .safetensors": ("model.pth", "out.safetensors", ours("safetensors")),
    ".pth -> .ckpt": ("model.pth", "out.ckpt", ours("ckpt")),
    ".pth -> .safetensors, read back": ("model.pth", "out.safetensors", ours("safetensors", read_back=True)),
    ".pth -> .ckpt, read back": ("model.pth", "out.ckpt", ours("ckpt", read_back=True)),
    ".safetensors, renamed": ("model.safetensors", "out.safetensors", ours("safetensors")),
    "snippet: torch.load, Tensor, save_checkpoint": ("model.pth", "out.ckpt", snippet),
}
"""Name -> source, target, what is timed. The first is what the others are compared with."""

IMPORTS = {"snippet: torch.load, Tensor, save_checkpoint": ("torch", "mindspore")}


class Peak:
    """The most anonymous memory of this process between enter and exit, beyond what there was; in bytes."""

    def __enter__(self) -> Peak:
        self._stop = threading.Event()
        self._before = self.most = anonymous()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(0.005):
            self.most = max(self.most, anonymous())

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self.grown = max(self.most, anonymous()) - self._before


def anonymous() -> int:
    """RssAnon of this process in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) * 1024


def run_child(name: str, folder: Path) -> None:
    """Run one contender and print what it took, as JSON."""
    source, target, function = CONTENDERS[name]
    for module in IMPORTS.get(name, ("dsbridge.checkpoint.execute", "dsbridge.checkpoint.formats.registry")):
        __import__(module)
    with Peak() as peak:
        start = time.perf_counter()
        function(folder / source, folder / target)
        seconds = time.perf_counter() - start
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    heavy = sorted({"torch", "mindspore"} & set(sys.modules))
    (folder / target).unlink()
    print(json.dumps({"seconds": seconds, "anon": peak.grown, "rss": most, "imported": heavy}))


def measure(name: str, folder: Path) -> dict:
    """One run of a contender, in a process of its own."""
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def medians(folder: Path, rounds: int) -> dict[str, dict]:
    """Every contender in turn, ``rounds`` times; one round before that is not counted."""
    runs: dict[str, list[dict]] = {name: [] for name in CONTENDERS}
    for number in range(rounds + 1):
        for name in CONTENDERS:
            found = measure(name, folder)
            if number:
                runs[name].append(found)
    return {
        name: {
            "seconds": statistics.median(run["seconds"] for run in found),
            "anon": max(run["anon"] for run in found),
            "rss": max(run["rss"] for run in found),
            "imported": found[0]["imported"],
        }
        for name, found in runs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=2.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder if not given")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_child(arguments.child, arguments.folder)
        return
    if arguments.make:
        make(arguments.folder, arguments.gib)
        return
    folder = Path(tempfile.mkdtemp(prefix="dsbridge-", dir=arguments.folder))
    try:
        command = [sys.executable, __file__, "--make", "--gib", str(arguments.gib), "--folder", str(folder)]
        subprocess.run(command, check=True)  # not here: its memory would be ours
        found = medians(folder, arguments.rounds)
    finally:
        shutil.rmtree(folder)
    base = next(iter(found.values()))["seconds"]
    print(f"{arguments.gib:g} GiB in {TENSORS} tensors, the largest {arguments.gib * 256:.0f} MiB; {arguments.rounds} rounds")
    print(f"{'':46} {'seconds':>8} {'x cp':>6} {'RssAnon +MiB':>13} {'RSS MiB':>8}  imported")
    for name, one in found.items():
        sizes = f"{one['anon'] / 2**20:>13.0f} {one['rss'] / 2**20:>8.0f}"
        print(f"{name:46} {one['seconds']:>8.2f} {one['seconds'] / base:>6.2f} {sizes}  {', '.join(one['imported']) or '-'}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"gib": arguments.gib, "rounds": arguments.rounds, "found": found}, indent=1))


if __name__ == "__main__":
    main()
