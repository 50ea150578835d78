"""Imports that fail, provoked by modules of our own making on PYTHONPATH, and by environment variables."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dsbridge.environment import arrays, imports
from dsbridge.environment.child import ask
from dsbridge.environment.diagnosis import Diagnosis
from dsbridge.environment.doctor import Named, examine

TLS = "/opt/torch/libgomp-a34b3233.so.1: cannot allocate memory in static TLS block"


def found(check: Callable[[], object]) -> Diagnosis:
    """What a check finds here."""
    return examine([Named("it", check)])  # type: ignore[arg-type]


@pytest.fixture
def shadow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Let children import a module of this text instead of the real one."""
    here = str(Path(__file__).parent.parent.parent)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{here}")

    def write(name: str, text: str) -> None:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_a_child_that_hangs_is_killed() -> None:
    """With what it started."""
    answer = ask("import subprocess; subprocess.run(['sleep', '60'])", timeout_s=0.5)
    assert answer.error == "no answer within 0 s" or "no answer within" in answer.error


def test_a_child_that_fails_says_why() -> None:
    """The last line of what it wrote, and how it ended."""
    assert ask("raise ValueError('no')").error == "ended with exit code 1: ValueError: no"
    assert ask("answer(x=1); import os; os._exit(3)").data == {"x": 1}


def test_an_import_that_fails(shadow: Callable[[str, str], None]) -> None:
    """In both orders; the hint installs it again."""
    shadow("torch", "raise ImportError('libtorch_cpu.so: undefined symbol')")
    shadow("mindspore", "")
    diagnosis = found(imports.check_imports)
    assert [finding.code for finding in diagnosis] == ["import-fails"] * 2
    assert "undefined symbol" in str(diagnosis) and "pip install torch" in diagnosis.findings[0].hint


def test_static_tls_is_mended_by_a_library_that_was_tried(
    shadow: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of the message is preloaded in both orders, and only advised if they work then."""
    library = next(Path("/usr/lib").rglob("libgomp.so.1"), None) or next(Path("/lib").rglob("libz.so.1"))
    shadow("mindspore", "")
    shadow(
        "torch",
        f"import os, sys\nif {str(library)!r} not in os.environ.get('LD_PRELOAD', ''):\n"
        f"    raise ImportError({str(library)!r} + ': cannot allocate memory in static TLS block')\n"
        "_C = type('C', (), {'_log_api_usage_once': 1})",
    )
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    diagnosis = found(imports.check_imports)
    assert {finding.code for finding in diagnosis} == {"static-tls"}
    assert diagnosis.fix_env() == f"export LD_PRELOAD={library}${{LD_PRELOAD:+:$LD_PRELOAD}}    # static-tls"


def test_static_tls_that_nothing_mends(shadow: Callable[[str, str], None]) -> None:
    """No advice that was seen to fail."""
    shadow("torch", f"raise ImportError({TLS!r})")
    shadow("mindspore", "")
    diagnosis = found(imports.check_imports)
    assert "static-tls" in diagnosis and not diagnosis.settings
    assert "use a fresh environment" in diagnosis.findings[0].hint


def test_a_torch_that_is_none(shadow: Callable[[str, str], None]) -> None:
    """A proxy under torch's name."""
    shadow("torch", "__file__ = '/site-packages/mindtorch/__init__.py'")
    shadow("mindspore", "")
    diagnosis = found(imports.check_imports)
    assert "torch-proxied" in diagnosis and "mindtorch" in str(diagnosis)


def test_proxies_that_are_installed(
    shadow: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their metadata, without importing them."""
    folder = tmp_path / "mindnlp-0.5.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mindnlp\nVersion: 0.5.1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    diagnosis = found(imports.check_proxies)
    assert "torch-replacement" in diagnosis and "mindnlp 0.5.1" in str(diagnosis)


def test_pure_python_protobuf() -> None:
    """As an environment variable makes it. Not in this process, in which mindspore has set it."""
    code = (
        "from dsbridge.environment import imports\nfrom dsbridge.environment.doctor import Named, examine\n"
        "found = examine([Named('it', imports.check_protobuf)]); answer(text=str(found), fix=found.fix_env())"
    )
    variable = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
    slow = ask(code, env={variable: "python"}).data
    assert "slow-protobuf" in slow["text"] and slow["fix"] == f"export {variable}=upb    # slow-protobuf"
    assert "slow-protobuf" not in ask(code, env={variable: None}).data["text"]
    assert "slow-protobuf" not in found(imports.check_protobuf)


def test_a_torchvision_for_another_torch(shadow: Callable[[str, str], None]) -> None:
    """What its import says is passed on."""
    shadow("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    diagnosis = found(imports.check_torchvision)
    assert "torchvision-cuda" in diagnosis and "torchvision::nms" in str(diagnosis)
    shadow("torchvision", "")
    assert "torchvision-cuda" not in found(imports.check_torchvision)


def test_a_pyarrow_for_another_numpy(shadow: Callable[[str, str], None]) -> None:
    """What its import says is passed on."""
    shadow("pyarrow", "raise ImportError('numpy.core.multiarray failed to import')")
    diagnosis = found(arrays.check_pyarrow)
    assert "pyarrow-numpy" in diagnosis and not diagnosis.ok


def test_two_openmp_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What both imports map is counted; a preload that leaves two is not advised."""
    from dsbridge.environment.child import Answer

    monkeypatch.setattr(
        imports, "_imported", lambda order, preload="": Answer({"gomp": ["/a/libgomp.so.1", "/b/libgomp-x.so.1"]})
    )
    diagnosis = found(imports.check_imports)
    assert "libgomp-twice" in diagnosis and not diagnosis.settings
    one = {"gomp": ["/a/libgomp.so.1"]}
    both = {"gomp": ["/bin/sh", "/b/libgomp-x.so.1"]}  # a path that exists
    monkeypatch.setattr(imports, "_imported", lambda order, preload="": Answer(one if preload else both))
    assert found(imports.check_imports).fix_env() == "export LD_PRELOAD=/bin/sh${LD_PRELOAD:+:$LD_PRELOAD}    # libgomp-twice"
