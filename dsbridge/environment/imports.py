"""Do torch and mindspore import, in either order, and are they what their names say."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from dsbridge.environment.child import Answer, ask
from dsbridge.environment.diagnosis import Fact, Setting
from dsbridge.environment.matrix import PACKAGES, installed
from dsbridge.report import Finding

Found = Iterator[Fact | Finding | Setting]

ORDERS = (("torch", "mindspore"), ("mindspore", "torch"))
PROXIES = ("mindnlp", "mindtorch", "msadapter")
SYSTEM_LIBRARIES = ("/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")  # Red Hat, Debian
_PROTOBUF = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
_PROTOBUF_KIND = "from google.protobuf.internal import api_implementation as a; answer(kind=a.Type())"

# One child an order. What is mapped is asked after both are there.
_IMPORT = """
import importlib
for name in {order!r}:
    module = importlib.import_module(name)
    if name == "torch":
        from dsbridge.frameworks.detect import require_torch
        require_torch("dsbridge")
maps = open("/proc/self/maps").read().splitlines()
gomp = sorted({{line.split()[-1] for line in maps if "/libgomp" in line}})
answer(gomp=gomp)
"""
_TLS = re.compile(r"(\S*lib\S+\.so\S*): cannot allocate memory in static TLS block")


def check_imports() -> Found:
    """Both frameworks, in both orders, each in a child; advice on LD_PRELOAD is tried in both before it is given."""
    absent = [name for name in ORDERS[0] if installed(name) is None]
    if absent:  # check_versions says how to get them
        yield Fact("import", f"not tried without {' and '.join(absent)}")
        return
    gomp: list[str] = []
    for order in ORDERS:
        name = "import " + ", ".join(order)
        answer = _imported(order)
        gomp = gomp or answer.data.get("gomp", [])
        yield Fact(name, "works" if not answer.error else "fails")
        if answer.error:
            yield from _failed(name, answer)
    yield Fact("libgomp", ", ".join(gomp) or "none")
    if len(gomp) > 1:
        message = (
            f"{len(gomp)} are loaded ({', '.join(gomp)}): each has threads of its own, and a process that forks after "
            "using one may hang in the other"
        )
        yield from _preload("libgomp-twice", "warning", "libgomp", message, gomp)


def _imported(order: tuple[str, str], preload: str = "") -> Answer:
    env = {"LD_PRELOAD": " ".join(filter(None, (preload, os.environ.get("LD_PRELOAD", ""))))} if preload else None
    return ask(_IMPORT.format(order=order), env=env)


def _failed(name: str, answer: Answer) -> Found:
    """Which of the known reasons, and what mends it."""
    tls = _TLS.search(answer.stderr)
    if tls:
        message = f"{tls.group(0)}: the libraries loaded before took the room; loading this one first keeps it"
        yield from _preload("static-tls", "error", name, message, [tls.group(1)])
    elif "is not PyTorch but" in answer.stderr:
        message = f"{answer.error}. Checks against torch would compare MindSpore with itself"
        proxies = [proxy for proxy in PROXIES if installed(proxy)]
        yield Finding("torch-proxied", "error", "torch", message, f"pip uninstall {' '.join(proxies) or 'what replaces it'}")
    else:
        commands = [package.command for package in PACKAGES if package.name in name]
        hint = f"python -c '{name}' shows all of it; then: {' && '.join(commands)} --force-reinstall"
        yield Finding("import-fails", "error", name, answer.error, hint)


def _preload(code: str, severity: str, where: str, message: str, libraries: list[str]) -> Found:
    """Advise the first library with which both orders work, with one libgomp; without one, say that none does."""
    for library in libraries:
        path = library if Path(library).exists() else _found(library)
        answers = [_imported(order, path) for order in ORDERS] if path else []
        if answers and all(not answer.error and len(answer.data["gomp"]) < 2 for answer in answers):
            line = f"export LD_PRELOAD={path}${{LD_PRELOAD:+:$LD_PRELOAD}}"
            yield Setting(code, line)
            yield Finding(code, severity, where, message, f"{line} (tried: both import orders work)")
            return
    tried = ", ".join(libraries)
    yield Finding(code, severity, where, message, f"LD_PRELOAD of {tried} was tried and does not help; use a fresh environment")


def _found(library: str) -> str:
    """Where the loader would find a library that was named without its folder; empty if nowhere."""
    folders = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *SYSTEM_LIBRARIES]
    return next((str(Path(folder) / library) for folder in folders if folder and (Path(folder) / library).exists()), "")


def check_proxies() -> Found:
    """Packages that replace torch when they are imported."""
    there = [f"{name} {version}" for name in PROXIES if (version := installed(name))]
    yield Fact("torch replacements", ", ".join(there) or "none")
    if there:
        message = f"{', '.join(there)}: importing it makes 'import torch' give MindSpore in disguise, which dsbridge refuses"
        line = f"pip uninstall {' '.join(name.split()[0] for name in there)} (or do not import it beside dsbridge)"
        yield Finding("torch-replacement", "warning", "torch", message, line)


def check_protobuf() -> Found:
    """Which implementation reads .ckpt files in mindspore.load_checkpoint.

    MindSpore 2.10 chooses the pure Python one for its process, unless the variable was set before it was imported.
    """
    ours = os.environ.get(_PROTOBUF)
    chosen = None if ours == "python" and "mindspore" in sys.modules else ours  # by mindspore, here, before we came
    answer = ask(_PROTOBUF_KIND, timeout_s=30, env={_PROTOBUF: chosen})
    version, kind = installed("protobuf") or "not installed", answer.data.get("kind", "")
    if kind != "python":
        yield Fact(
            "protobuf", f"{version}, {kind} (mindspore sets python; to keep it: export {_PROTOBUF}={kind})" if kind else version
        )
        return
    yield Fact("protobuf", f"{version}, python")
    message = (
        "the pure Python implementation: mindspore.load_checkpoint and save_checkpoint take minutes for big files "
        "(dsbridge reads and writes them without protobuf)"
    )
    if chosen == "python":
        line = f"export {_PROTOBUF}=upb"
        yield Setting("slow-protobuf", line)
    else:
        line = "pip install --force-reinstall --only-binary :all: protobuf"
    yield Finding("slow-protobuf", "warning", "protobuf", message, line)


def check_torchvision() -> Found:
    """Whether torchvision's compiled part belongs to the torch that is there."""
    if not installed("torchvision") or not installed("torch"):
        return
    answer = ask("import torchvision; answer(ok=True)")
    yield Fact("import torchvision", "works" if not answer.error else "fails")
    if answer.error:
        version = next(package.np1 for package in PACKAGES if package.name == "torchvision")
        message = f"{answer.error}: its wheel was built for another torch (the CUDA one, as a rule)"
        line = (
            f"pip install --force-reinstall --no-deps torchvision=={version} --index-url https://download.pytorch.org/whl/cpu"
        )
        yield Finding("torchvision-cuda", "warning", "torchvision", message, line)
