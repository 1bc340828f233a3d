"""Malformed inputs for every reader: strategies, and the valid inputs that they begin with."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st
from synthetic import CPU, H100, footer, header, launched, record, selftest, turns

EVIL = (
    "",
    " ",
    "-",
    "--",
    "con",
    "nul",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a|b`c*d<e>",
    "=cmd|' /C calc'!A0",
    "a\nb\r\nc",
    "\x1b[31mred\x1b]0;title\x07",
    "\x9b31m",
    "\u202eevil\u2066",
    "\u200f\u061c",
    "\ufeff",
    "\x00",
    "a\x00/b*",
    "%s%n{0}{a!r}$(x)`x`",
    "$\\nosuch{1}$",
    "é" * 100,
    "\U0001f600" * 50,
    "x" * 300,
    "x" * 1_000_000,
    "\x1b" * 5000,
    "nan",
    "inf",
    "1e999",
    "1" * 5000,
    "٣",
    "torch",
    "fp32",
)
"""What a name, a label or any other text may be."""

_text = st.one_of(st.sampled_from(EVIL), st.text(max_size=12))

JSON = (
    *(b"null true false 0 -0 -1 1.5 NaN Infinity -Infinity 1e999 -1e999 1e308 5e-324".split()),
    *(b"9007199254740993 9223372036854775807 9223372036854775808 18446744073709551616".split()),
    *(b'[] {} [null] [[]] {"a":{"b":1}} [1,2,3] ["a"] "ok" "0" +1 01 .5'.split()),
    *(b'"\\ud800" "\\u0000"'.split()),
    b"1" + b"0" * 5000,
    b"0." + b"9" * 100_000,
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 50_000,
    b"[" + b"0," * 50_000 + b"0]",
    b'"' + b"\\u202e" * 1000 + b'"',
    b'"\xff\xfe"',
    b"'a'",
    b"",
)
_json = st.one_of(
    st.sampled_from(JSON),
    _text.map(lambda text: msgspec.json.encode(text.encode("utf-8", "replace").decode())),
    st.integers().map(lambda value: str(value).encode()),
    st.floats().map(lambda value: repr(value).encode()),
)

# Bytes: any, and those of a valid input with a few changes.


@st.composite
def _changed(draw: st.DrawFn, whole: bytes) -> bytes:
    data = whole
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        to = draw(st.integers(at, min(len(data), at + 40)))
        lines = data.split(b"\n")
        first, second = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.integers(0, 5)):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + draw(st.binary(max_size=20)) + data[to:]
            case 2:
                lines.insert(first, lines[second])
                data = b"\n".join(lines)
            case 3:
                lines[first], lines[second] = lines[second], lines[first]
                data = b"\n".join(lines)
            case 4:
                data = data[:at] + draw(_json) + data[to:]
            case 5:
                data = data.replace(b"\n", draw(st.sampled_from((b"\r\n", b"\r", b"\0", b""))))
    return data


# Runs: each field of each kind of line.

MARK = "the value to replace"


def _run_lines() -> list[Any]:
    took = turns(100.0, rounds=7, samples=2)
    measured = [
        record("naive", tier="naive", base=True, took=took, limits={"power": 1.0}),
        record(
            *("tiled",),
            took=turns(40.0, rounds=7),
            config={"BLOCK_M": 64, "deep": True, "name": "x"},
            tile=(1, 2, 3),
            grid=(4,),
            splits=2,
            modes={"fast": "on"},
            energy_j=1.0,
            warnings=("said",),
            label="some",
        ),
        record("tiled", repeat=1, took=turns(41.0, rounds=7)),
        record("library", precision="bf16", took=turns(9.0, rounds=7), sitting=1),
        record("other", status="failed", reason="why"),
    ]
    first = header(H100, request={"shapes": ["1x1x1"]}, plan=("0/a/b/c",), kernels={"a": "b"})
    return [
        *(msgspec.to_builtins(first), msgspec.to_builtins(header(CPU))),
        *(
            msgspec.to_builtins(line)
            for line in (*measured, selftest(), launched(), footer(measured))
        ),
    ]


RUN = _run_lines()


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a value that can be replaced; of long lists the first two."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value[:2]):
            yield from _places(inner, (*path, index))


PLACES = [(number, path) for number, line in enumerate(RUN) for path in _places(line)]


def replaced(value: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    """A copy with what `change` does to the container at the end of the path."""
    copied = msgspec.json.decode(msgspec.json.encode(value))
    at = copied
    for key in path[:-1]:
        at = at[key]
    change(at, path[-1])
    return copied


@st.composite
def run_files(draw: st.DrawFn) -> bytes:
    """A run with up to three fields replaced, renamed or dropped; now and then changed bytes."""
    lines = list(RUN[1 - draw(st.integers(0, 1)) : 2] + RUN[2:])
    return draw(_mutated(lines, PLACES, len(RUN) - len(lines)))


def run_files_of(lines: list[Any]) -> st.SearchStrategy[bytes]:
    """The same of the lines of any run."""
    places = [(number, path) for number, line in enumerate(lines) for path in _places(line)]
    return _mutated(lines, places, 0)


Places = list[tuple[int, tuple[Any, ...]]]


@st.composite
def _mutated(draw: st.DrawFn, given: list[Any], places: Places, shift: int) -> bytes:
    lines = list(given)
    chosen = draw(st.lists(st.sampled_from(places), min_size=1, max_size=2))
    values: list[bytes] = []
    for number, path in chosen:
        how = draw(st.sampled_from(("replace", "replace", "replace", "drop", "rename")))
        if how == "replace":
            values.append(draw(_json))

        def change(at: Any, key: Any, how: str = how) -> None:
            if how == "replace":
                at[key] = MARK
            elif how == "drop":
                del at[key]
            elif isinstance(at, dict):
                at["x" + key] = at.pop(key)

        place = max(0, number - shift)
        try:
            lines[place] = replaced(lines[place], path, change)
        except (KeyError, IndexError, TypeError):
            continue
    data = b"\n".join(msgspec.json.encode(line) for line in lines) + b"\n"
    for value in values:
        data = data.replace(msgspec.json.encode(MARK), value, 1)
    return data if draw(st.integers(0, 3)) else draw(_changed(data))


# Suites.

SUITE = b"""name = "mine"
description = "what I care about"
preset = "quick"
kernels = ["torch"]
precisions = ["fp16"]
shapes = ["64x32x16", "8 * 1x2x3", {m = 16, n = 57344, k = 8192, layout = "nt", label = "up"}]
[cpu]
shapes = ["1x1x1", {m = [1, 16], n = 8, k = 8, label = "list"}]
[gpu]
precisions = ["bf16", "fp8_e4m3"]
"""
TOML = (
    *(b"1 -1 0 nan inf -inf 1e999 true 1979-05-27 07:32:00 [] {} [[]] 0x10 'a' \"\"".split()),
    b"1" + b"0" * 5000,
    b"0x" + b"f" * 100_000,
    b"[" * 100_000,
    b"{a=" * 50_000,
    b"[" + b"1," * 50_000 + b"]",
    b"[" + b'"1x1x1",' * 11_000 + b"]",
    b"a." * 50_000 + b"a",
    b'"\\u0000\\u001b\\u202e"',
    b'"""\n\n"""',
    b'["\x1b[31m"]',
)
_toml_text = _text.map(
    lambda text: (
        '"'
        + "".join(f"\\U{ord(one):08x}" for one in text[:2000] if not 0xD800 <= ord(one) < 0xE000)
        + '"'
    ).encode()
)
SUITE_WORDS = tuple(
    b'"mine" "quick" ["torch"] "64x32x16" "8 * 1x2x3" 16 57344 "nt" "up" [1, "1x1x1" '
    b"name shapes kernels precisions cpu gpu [cpu] m layout label batch preset".split()
)


@st.composite
def _replaced(
    draw: st.DrawFn, whole: bytes, words: tuple[bytes, ...], values: st.SearchStrategy[bytes]
) -> bytes:
    data = whole
    others = st.sampled_from(words)
    for word in draw(st.lists(others, min_size=1, max_size=2)):
        data = data.replace(word, draw(st.one_of(values, others)), 1)
    return data if draw(st.integers(0, 2)) else draw(_changed(data))


suites = st.one_of(
    _replaced(SUITE, SUITE_WORDS, st.one_of(st.sampled_from(TOML), _toml_text, _json)),
    st.binary(max_size=200),
)


# Tables of shapes, and ranges.

TABLE = b"""# shapes of mine
m,n,k,batch,layout,label
16,57344,8192,1,nt,"up, 16 tokens"
1,2,3,,,
4096,4096,4096,8,nn,large
"""
_cell = _text.map(lambda text: text.encode("utf-8", "surrogatepass"))
TABLE_WORDS = tuple(b'm,n m n k , 16 57344 8192 nt up 1,2,3 batch layout label 4096 # "'.split())
tables = st.one_of(
    _replaced(TABLE, TABLE_WORDS, st.one_of(_cell, _json, st.sampled_from((b";", b"\t", b'"')))),
    st.binary(max_size=200),
    st.integers(1, 400_000).map(lambda size: b"m,n,k\n" + b"," * size),
    st.integers(1, 400_000).map(lambda size: b"m,n,k\n" + b'"' * size),
    st.integers(9_000, 40_000).map(lambda size: b"m,n,k\n" + b"1,2,3\n" * size),
)


_number = st.one_of(
    st.integers(0, 9000).map(str),
    st.sampled_from(("2147483647", "2147483648", "1e9", "-1", "0", "1" * 5000, "x2", "x1", "m")),
)
_range = st.one_of(
    _number,
    st.lists(_number, min_size=2, max_size=5).map(":".join),
    st.lists(st.lists(_number, max_size=4).map(":".join), max_size=50).map(",".join),
    st.integers(1, 200_000).map(lambda count: ",".join(["1:10000:1"] * count)),
    _text,
    st.sampled_from(("m", "n", "k", " M ")),
)
ranges = st.tuples(*[st.one_of(_range, _range, _range, st.none())] * 3)


# Kernel files.

PYTHON = (
    *("None", "0", "-1", "10**5000", "-10**5000", "float('nan')", "1e308", "True", "b'x'", "..."),
    *("()", "[]", "{}", "('fp32', 1)", "(('fp32',),)", "['fp32']", "{'fp32'}", "('fp32', 'fp32')"),
    *(
        "('fp33',)",
        "('x' * 1000000,)",
        "tuple(map(str, range(100000)))",
        "object()",
        "type",
        "Odd()",
    ),
    *("lambda *_: None", "lambda *_: 7", "lambda *_: '\\x1b[31m' * 100", "lambda *_: 1 / 0"),
    *("lambda *_: '\\ud800'", "{'a': 1}", "{'a': 1.5}", "{'a': 10**5000}", "{1: 2}", "{'\\n': 1}"),
    *("{'a': 'x' * 10**6}", "{'a': [1]}", "(1, 2)", "(1, 2, 3)", "(1, 2, 10**30)", "range(3)"),
    *("'no.such:thing'", "'gemmkernels.library:nothing'", "':'", "Text('torch')", "iter(())"),
)
_python = st.one_of(st.sampled_from(PYTHON), _text.map(repr))
KERNEL_FIELDS = (
    *("name", "tier", "backend", "precisions", "summary", "bind", "kinds", "layouts"),
    *("batched", "max_flop", "base", "needs"),
)
LAUNCH_FIELDS = ("run", "prepare", "returns_output", "config", "tile", "grid", "splits")
FILE = """
from gemmkernels import Kernel, Launch

class Odd:
    def __getattr__(self, name): raise RuntimeError(name)
    def __repr__(self): raise ValueError("no\\nrepr")
    __str__ = __repr__

class Text(str):
    def isprintable(self): return True

class Fault(Exception):
    def __str__(self): raise ValueError("no text")

def bind(operands):
    found = dict(run=lambda: None)
    found.update({launch})
    return Launch(**found)

found = dict(name="mine", tier="tiled", backend="me", precisions=("fp32",), summary="x", bind=bind)
found.update({kernel})
{end}
"""
ENDS = (
    *("KERNEL = Kernel(**found)",) * 6,
    "KERNELS = (Kernel(**found),) * 2",
    "KERNELS = Kernel(**found), 1",
    "KERNELS = (1, (2,), None)",
    "KERNELS = [Kernel(**{**found, 'name': f'k{i}'}) for i in range(3000)]",
    "KERNEL = Odd()",
    "KERNEL = Kernel",
    "raise Fault",
    "raise KeyboardInterrupt",
    "raise SystemExit",
    "raise BaseException('\\x1b[31m\\n' * 100_000)",
    "raise SyntaxError",
    "raise GeneratorExit",
    "raise type('\\x1b[31m', (Exception,), {})",
    "def __getattr__(name): raise RuntimeError(name)",
    "def f(): f()\nf()",
    "(" * 300 + "1" + ")" * 300,
    "(" * 100_000,
    "-" * 100_000 + "1",
    "x = 1" + "0" * 5000,
    "'\\ud800'.encode()",
    "import no.such.module",
    "\x00",
    "\t x\n  y",
    "# coding: no-such",
)


@st.composite
def kernel_files(draw: st.DrawFn) -> bytes:
    fields = draw(
        st.dictionaries(st.sampled_from((*KERNEL_FIELDS, *LAUNCH_FIELDS)), _python, max_size=3)
    )
    parts = [
        ", ".join(f"{name}={value}" for name, value in fields.items() if name in names)
        for names in (LAUNCH_FIELDS, KERNEL_FIELDS)
    ]
    end = draw(st.sampled_from(ENDS))
    text = FILE.replace("{launch}", parts[0]).replace("{kernel}", parts[1]).replace("{end}", end)
    data = text.encode("utf-8", "surrogatepass")
    return data if draw(st.integers(0, 5)) else draw(_changed(data))


# Texts of the command line, and the environment.

texts = st.one_of(
    _text,
    st.sampled_from(
        ("cuda:", "cuda:999", "cuda:-1", "cuda:٣", "90 s", "1h30", "1e3", "0%", "9x9x9")
    ),
    st.text(alphabet="0123456789.:,xX×*smh% -+e", max_size=20),
    st.integers(1, 200_000).map(lambda count: "1x" * count),
    st.integers(1, 200_000).map(lambda count: "9" * count),
)


_variable = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
environments = st.one_of(_variable, st.sampled_from([one for one in EVIL if "\0" not in one])).map(
    lambda text: text[:100_000]
)
