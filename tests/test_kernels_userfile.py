"""A user's own file of kernels: what it may hold, and one line for each way it can fail."""

from pathlib import Path

import pytest

from gemmkernels import GemmbenchError
from gemmkernels.userfile import load_file

GOOD = """
from gemmkernels import Kernel, Launch

def bind(operands):
    return Launch(run=lambda: None)

def make(name):
    return Kernel(name=name, tier="tiled", backend="mine", precisions=("fp32",), summary="mine",
                  bind=bind)

"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_loads_one_kernel_or_several(tmp_path: Path) -> None:
    one = write(tmp_path / "one.py", GOOD + 'KERNEL = make("mine")\n')
    assert [kernel.name for kernel in load_file(one)] == ["mine"]
    many = write(tmp_path / "my kernels-2.py", GOOD + 'KERNELS = [make("a"), make("b")]\n')
    assert [kernel.name for kernel in load_file(str(many))] == ["a", "b"]


def test_files_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "mine.py", GOOD + 'KERNEL = make("first")\n')
    second = write(tmp_path / "b" / "mine.py", GOOD + 'KERNEL = make("second")\n')
    kernels = [*load_file(first), *load_file(second), *load_file(first)]
    assert [kernel.name for kernel in kernels] == ["first", "second", "first"]
    binds = [kernel.bind for kernel in kernels]
    assert callable(binds[0])
    assert callable(binds[1])
    assert binds[0].__module__ != binds[1].__module__


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:\n", r"mine\.py:1: SyntaxError: invalid syntax"),
        ("\n\nimport no_such_module_at_all\n", r":3: ModuleNotFoundError: No module named"),
        ("def f():\n    1 / 0\nf()\n", r":2: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", r":1: SystemExit: 3"),
        ("raise ValueError('two\\nlines')\n", r":1: ValueError: two lines"),
        ("x = 1\n", r"no kernel in it: end it with KERNEL = Kernel"),
        (GOOD + 'KERNEL = KERNELS = make("a")\n', r"both KERNEL and KERNELS"),
        ("KERNEL = 7\n", r"KERNEL holds int, expected gemmkernels\.Kernel"),
        ("KERNELS = ()\n", r"KERNELS is empty"),
        (GOOD + 'KERNEL = make("torch")\n', r"'torch' is taken: choose another"),
        (GOOD + 'KERNELS = (make("a"), make("a"))\n', r"'a' is taken: choose another"),
        (GOOD + 'KERNEL = make("")\n', r": kernel name '' must begin with a letter"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "mine.py", text)
    with pytest.raises(GemmbenchError, match=said) as caught:
        load_file(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_what_is_no_python_file(tmp_path: Path) -> None:
    with pytest.raises(GemmbenchError, match="there is no such file"):
        load_file(tmp_path / "absent.py")
    with pytest.raises(GemmbenchError, match="is a folder"):
        load_file(tmp_path)
    with pytest.raises(GemmbenchError, match=r"not a \.py file"):
        load_file(write(tmp_path / "notes.txt", "KERNEL = 1"))
    (tmp_path / "bytes.py").write_bytes(b"\x00\xff\xfe")
    with pytest.raises(GemmbenchError, match=r"bytes\.py:?.*(SyntaxError|ValueError|source code)"):
        load_file(tmp_path / "bytes.py")
