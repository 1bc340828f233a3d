"""Malformed files of other tools: the samples with bytes, words and values changed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import hostile
import hostile_inputs as inputs
import msgspec
from hypothesis import strategies as st

from gemmbench.analysis.speedup import ladder
from gemmbench.records.frame import frame
from gemmbench.records.imports import Asked, keep, read_foreign
from gemmbench.records.reader import read
from gemmbench.show.results import results
from gemmbench.show.tables import plain, to_text
from gemmkernels.errors import GemmbenchError

DATA = Path(__file__).parent / "data" / "import"
SAMPLES = {
    "nvbench": ("nvbench.json",),
    "hipblaslt-bench": ("hipblaslt.txt", "hipblaslt-checked.txt", "hipblaslt-oldest.txt"),
    "rocblas-bench": ("rocblas.txt",),
    "cutlass": ("cutlass.csv", "cutlass-console.txt"),
    "mamf-finder": ("mamf-v1.txt", "mamf-v2.txt", "mamf-v4.txt", "mamf-block.txt"),
    "pytest-benchmark": ("pytest-benchmark.json",),
}
Foreign = tuple[str, bytes]

_number = st.sampled_from(
    (
        *(b"0 -1 1e308 1e-320 1e999 -nan nan inf 4096.0 0x10 2147483648 99999999999 1e5".split()),
        *("٤٠٩٦".encode(), b"1" * 5000, b"9" * 300, b'"', b"", b" ", b",", b"null", b"[]", b"{}"),
    )
)
_evil = st.sampled_from(inputs.EVIL).map(lambda text: text.encode("utf-8", "replace")[:5000])


def _words(data: bytes) -> list[bytes]:
    """What stands between separators: numbers, names, types."""
    for mark in b'",:{}[]\n\r=|@x()':
        data = data.replace(bytes([mark]), b" ")
    return sorted({word for word in data.split() if len(word) < 60})


@st.composite
def _changed(draw: st.DrawFn, name: str) -> bytes:
    whole = (DATA / name).read_bytes()
    words = _words(whole)
    data = whole
    for word in draw(st.lists(st.sampled_from(words), max_size=3)):
        value = draw(st.one_of(_number, _number, _evil, st.sampled_from(words)))
        data = data.replace(word, value, draw(st.sampled_from((1, 1, -1))))
    if name.endswith(".json") and draw(st.booleans()):
        at = draw(st.sampled_from([i for i, byte in enumerate(whole) if byte in b":[,"]))
        value = draw(st.sampled_from(inputs.JSON))
        data = whole[: at + 1] + value + whole[at + 1 :]
    return data if draw(st.integers(0, 2)) else draw(inputs._changed(data))


def of(tool: str) -> st.SearchStrategy[Foreign]:
    """(the tool that the user names, or "" for none; the file)."""
    files = st.one_of(*(_changed(name) for name in SAMPLES[tool]))
    rest = st.one_of(files, files, files, files, st.binary(max_size=300))
    return st.tuples(st.sampled_from((tool, "")), rest)


foreign = st.one_of(*map(of, SAMPLES))


def feed(given: Foreign, folder: Path, check_text: Callable[[str], None]) -> None:
    """Read it, and if it is taken keep it, and make of it what is made of runs."""
    tool, data = given
    path = folder / "foreign.dat"
    path.write_bytes(data)
    asked = Asked(precision=None if tool else "bf16")
    runs = read_foreign(path, asked, tool=tool or None)
    out = folder / "out"
    for run in runs:
        for line in (run.header, *run.records):
            assert msgspec.json.decode(msgspec.json.encode(line), type=type(line)) == line
    if len(data) % 8:  # the disk and the tables take most of the time
        return
    backs = [read(kept) for kept in keep(runs, out)]
    for back in backs:
        assert not back.warnings, back.warnings
    shutil.rmtree(out)
    df = frame(backs)
    assert not df["time_us"].le(0).any()
    for table in results(ladder(df), unsupported=True):
        check_text(to_text(table))
    check_text(plain(df, "csv"))


def refused(given: Foreign, folder: Path) -> bool:
    """Was it refused in one line? Raises for anything but that."""
    try:
        feed(given, folder, hostile.check_text)
    except GemmbenchError as error:
        hostile.check_error(error)
        return True
    return False
