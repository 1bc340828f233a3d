"""Reports that were made before, by the content of all that decides them."""

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from pathlib import Path

import msgspec

import gemmkernels
from gemmbench.inspect.question import Question, Report
from gemmkernels.tuning import user_file

KEPT = 8
"""Folders of reports, one for each state of the sources; the oldest go."""

_ELSEWHERE = ("cpu", "probes", "parallel", "library", "library.py", "userfile.py", "__pycache__")
"""Of gemmkernels: what no Triton kernel is made of."""


def triton_version() -> str | None:
    """The installed Triton's version, without importing it; None where there is none."""
    for name in ("triton", "pytorch-triton", "pytorch-triton-rocm", "triton-rocm"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def sources() -> str:
    """A hash of the Triton kernels, their settings, and of what reads the compiler's output."""
    found = hashlib.sha256()
    kernels, own = Path(gemmkernels.__file__).parent, Path(__file__).parent
    for folder in (kernels, own):
        for path in sorted((*folder.rglob("*.py"), *folder.rglob("*.toml"))):
            name = path.relative_to(folder)
            if folder == kernels and name.parts[0] in _ELSEWHERE:
                continue
            found.update(f"{name.as_posix()}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def folder() -> Path | None:
    """Where reports are kept: $XDG_CACHE_HOME/gemmbench, beside Triton's own cache, ~/.cache."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "gemmbench"
    if base := os.environ.get("TRITON_CACHE_DIR"):
        return Path(base).parent / "gemmbench"
    try:
        return Path.home() / ".cache" / "gemmbench"
    except RuntimeError:  # no home
        return None


class Cache:
    """Reports on disk. What is damaged counts as missing; what cannot be written is not kept."""

    def __init__(self, *, version: str) -> None:
        said = f"{sources()}\0{version}\0{_environment()}\0{_tuned()}"
        state = hashlib.sha256(said.encode()).hexdigest()
        base = folder()
        self._folder = base / "inspect" / state[:16] if base else None
        self._encoder = msgspec.json.Encoder(order="sorted")

    def get(self, question: Question) -> Report | None:
        if self._folder is None:
            return None
        try:
            digest, _, body = self._path(question).read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                return None
            report = msgspec.json.decode(body, type=Report)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return report if report.question == question else None

    def put(self, report: Report) -> None:
        """Keep a report. A crash is tried again: it may be of the machine's making."""
        if self._folder is None or report.verdict == "crashed":
            return
        body = self._encoder.encode(report)
        with contextlib.suppress(OSError):
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True)
                self._forget()
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as stream:
                stream.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            Path(stream.name).replace(self._path(report.question))

    def _path(self, question: Question) -> Path:
        assert self._folder is not None
        name = hashlib.sha256(self._encoder.encode(question)).hexdigest()
        return self._folder / f"{name[:32]}.json"

    def _forget(self) -> None:
        assert self._folder is not None
        states = sorted(self._folder.parent.iterdir(), key=lambda one: one.stat().st_mtime)
        for old in states[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _environment() -> str:
    """What Triton reads from the environment, but where it keeps its files."""
    found = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("TRITON_", "MLIR_", "LLVM_", "AMDGCN_")) and not name.endswith("_DIR")
    }
    return repr(sorted(found.items()))


def _tuned() -> str:
    """A hash of the user's own tuned settings, of which a kernel takes its configuration."""
    path = user_file()
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
    except OSError:
        return ""
