"""Run files made to do harm: each text a weapon, numbers out of reach, depth and repetition.

All of them are synthetic. What is made of them is looked at in hostile_commands.py.
"""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import hostile_inputs
import msgspec
from synthetic import H100, footer, header, launched, record, roof, selftest, turns

MARKUP = (
    "<evil-tag>",
    "<script>evil()</script>",
    "</script><script>evil()</script><!--",
    "</style><evil-style>",
    "</textarea></title></template><evil-end>",
    "\"><img src=x onerror='evil()'>",
    "' autofocus onfocus='evil()",
    "<svg onload=evil()><evil-svg/></svg>",
    "]]></text><evil-xml/>",
    "javascript:evil()",
    "[evil](javascript:evil())",
    "![evil](http://evil.invalid/x.png)",
    "&lt;evil&gt; &#60;evil&#62; &amp;",
    "{{ evil }} {% evil %} {# evil #} ${evil} #{evil}",
    "<!--",
    "\u2028</script><evil-line>\u2029",
    "\x1b]8;;http://evil.invalid\x1b\\link\x1b]8;;\x1b\\",
    "zero\u200bwidth\u2060\u00ad",
    "__proto__",
    "constructor",
)
CELLS = ("=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "＝1")
"""What a spreadsheet takes for a formula."""

PATHS = ("../../../evil", "/evil", "~/evil", "..\\evil", "a/../../evil", "file:///evil", "\0evil")

TEXTS = (
    *MARKUP,
    *CELLS,
    *PATHS,
    *(text for text in hostile_inputs.EVIL if len(text) < 10_000),
)

_KEPT = frozenset(("type", "status", "unit", "kind", "vendor"))
"""Words of a closed list: another one there is a damaged line."""

Line = dict[str, Any]


def sound(texts: Sequence[str] = ("a", "b", "c"), *, factor: float = 1.0) -> list[Line]:
    """The lines of a whole run: every kind, every field, a record for each of the texts."""
    found = [
        record(
            f"k{index}",
            size=512 if index % 4 else (64, 4096, 128),
            precision=("fp32", "bf16", "fp8_e4m3")[index % 3],
            tier=("naive", "tiled", "library")[index % 3],
            base=index < 3,
            took=_took(factor * (9.0 + index), index),
            label="label",
            reason="reason",
            launch="graph",
            out_dtype="float32",
            accumulate="float32",
            ran_on="matrix cores",
            config={"BLOCK_M": 64, "name": "x"},
            settings={"name": "x"} if index % 7 == 6 else None,
            modes={"fast": "on"},
            limits={"power": 1.0},
            warnings=("said",),
            tile=(128, 128, 64),
            grid=(8, 8),
            splits=1,
            energy_j=1.0,
            compiled=({"instructions": {"wgmma": 4}, "registers": 99, "spills": 0, "name": "x"},),
        )
        for index, _ in enumerate(texts)
    ]
    found += [
        record(f"f{index}", size=256, status=status, reason="reason", label="label")
        for index in range(0, len(texts), 3)
        for status in (("failed", "wrong", "unsupported", "timeout")[index % 4],)
    ]
    first = header(
        H100,
        environment={"OMP_NUM_THREADS": "1"},
        host={"machine": "x86_64", "system": "Linux", "kernel": "6.1"},
        request={"shapes": ["1x1x1"], "kernels": ["x"]},
        kernels={"k0": "sha256"},
        suites=("quick",),
        doctor=("turbo is on",),
        left_out=("64x64x64-nn",),
        plan=tuple(one.case for one in found),
    )
    ceilings = [
        roof("copy", 3000.0, "GB/s"),
        roof("matrix", 800.0, "TFLOP/s", precision="bf16"),
        roof("launch-graph", 2.0, "us"),
    ]
    names = [launched(one, names=("nvjet_hsh", "splitk")) for one in found[:4]]
    lines = [first, selftest(), *ceilings, *found, *names, footer(found)]
    return [_builtins(line) for line in lines]


def _took(time_us: float, seed: int) -> tuple[Any, ...]:
    return tuple(
        replace(one, clock_mhz=1700.0, power_w=600.0, temperature_c=60.0, others_s=0.0)
        for one in turns(time_us, rounds=7, seed=seed, samples=5)
    )


def _builtins(line: object) -> Line:
    found: Line = msgspec.json.decode(msgspec.json.encode(line))
    return found


def poisoned(
    *, texts: Sequence[str] = TEXTS, words: bool = False, factor: float = 1.0
) -> list[Line]:
    """A run that loads without a warning, in which every text is one of these.

    A record bears one of them in all of its fields, the header all. `words` poisons those, too, by
    which records are looked up: precision, layout, the names of devices and spec sheets.
    """
    lines = sound(texts, factor=factor)
    kept = {"precision", "layout", "device_id", "group", "tool", "collective"}
    looked_up = set() if words else kept
    for index, line in enumerate(lines):
        text = texts[index % len(texts)]
        if line["type"] in ("run", "end"):
            text = "".join(texts)
        unique = f"{text}{index}" if line["type"] == "record" else text
        if line["type"] == "roof":
            continue  # a roof of another name bounds nothing
        lines[index] = _with(line, text, unique, keep=looked_up)
    lines[0]["plan"] = []  # whose cases have other names now
    lines[0]["run_id"] += f"{factor:g}"
    return lines


def _with(value: Any, text: str, unique: str, *, keep: set[str], key: str = "") -> Any:
    if isinstance(value, str):
        if key in _KEPT or key in keep:
            return value
        return unique if key == "kernel" else text
    if isinstance(value, dict):
        found = {
            name: _with(inner, text, unique, keep=keep, key=name) for name, inner in value.items()
        }
        if key in _FREE and found:
            found |= {text: next(iter(found.values()))}
        return found
    if isinstance(value, list):
        return [_with(inner, text, unique, keep=keep, key=key) for inner in value]
    return value


_FREE = frozenset(
    [
        "software",
        "host",
        "environment",
        "request",
        "kernels",
        "modes",
        "config",
        "limits",
        "settings",
        "statuses",
        "instructions",
    ]
)
"""Fields that take any key."""


def data_of(lines: Sequence[Line]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


# One fault at a time, in the bytes.

FREE_FORM = (
    *(("run", name) for name in ("request", "software", "sheet", "device", "unknown_field")),
    *(("record", name) for name in ("config", "settings", "compiled", "turns", "limits")),
    *(("selftest", "less"), ("roof", "config"), ("launched", "names"), ("end", "statuses")),
)
"""(kind of line, field)."""


def with_number(value: bytes, *, of: Sequence[str]) -> bytes:
    """Each field of that name, in each line, holds the number."""
    lines = [_numbered(line, frozenset(of)) for line in sound()]
    return data_of(lines).replace(msgspec.json.encode(hostile_inputs.MARK), value)


def _numbered(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {
            name: _marked(inner) if name in names else _numbered(inner, names)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_numbered(inner, names) for inner in value]
    return value


def _marked(value: Any) -> Any:
    return [_marked(one) for one in value] if isinstance(value, list) else hostile_inputs.MARK


def with_depth(name: str, *, kind: str, opened: bytes, closed: bytes, depth: int) -> bytes:
    """A field of that name, in the lines of a kind, holds so many brackets."""
    lines = sound()
    for line in lines:
        if line["type"] == kind:
            line[name] = hostile_inputs.MARK
    deep = opened * depth + b"1" + closed * depth
    return data_of(lines).replace(msgspec.json.encode(hostile_inputs.MARK), deep)


_WHOLE = data_of(sound())
_HEAD, _REST = _WHOLE[: _WHOLE.index(b"\n")], _WHOLE[_WHOLE.index(b"\n") :]


def _many_keys(kind: str, name: str) -> bytes:
    lines = sound()
    line = next(line for line in lines if line["type"] == kind)
    line[name] = {f"k{index}": "x" for index in range(300_000)}
    return data_of(lines)


def _many_turns() -> bytes:
    lines = sound()
    one = next(line for line in lines if line["type"] == "record")
    turns = [{**one["turns"][0], "samples_ns": None, "round": at} for at in range(20_000)]
    return data_of([line if line is not one else {**one, "turns": turns} for line in lines])


def _twice(key: bytes, value: bytes) -> bytes:
    return _WHOLE.replace(b'{"type":', b'{"' + key + b'":' + value + b',"type":')


Make = Callable[[], bytes]
FAULTS: dict[str, Make] = {
    "a type twice": lambda: _WHOLE.replace(b'"type":"record"', b'"type":"record","type":"run"'),
    "a status twice": lambda: _twice(b"status", b'"ok"'),
    "a name twice": lambda: _twice(b"run_id", b'"<evil-tag>"'),
    "a lone surrogate": lambda: _WHOLE.replace(b'"reason"', b'"\\ud800"'),
    "a lone surrogate in the header": lambda: _WHOLE.replace(b'"turbo is on"', b'"\\udfff"'),
    "bytes that are no UTF-8": lambda: _WHOLE.replace(b':"label"', b':"\xff\xfe\x80"'),
    "a byte order mark": lambda: b"\xef\xbb\xbf" + _WHOLE,
    "UTF-16": lambda: _WHOLE.decode().encode("utf-16"),
    "compressed": lambda: _bomb(),
    "carriage returns": lambda: _WHOLE.replace(b"\n", b"\r"),
    "NUL between the lines": lambda: _WHOLE.replace(b"\n", b"\0\n\0"),
    "a header alone": lambda: _HEAD,
    "a header cut": lambda: _HEAD[: len(_HEAD) // 2],
    "no header": lambda: _REST,
    "two runs": lambda: _WHOLE + _WHOLE,
    "a million blank lines": lambda: _HEAD + b"\n" * 1_000_000 + _REST,
    "many unknown lines": lambda: _WHOLE + b'{"type":"\\u001b[31m"}\n' * 100_000,
    "many unknown types": lambda: (
        _WHOLE + b"".join(b'{"type":"k%d"}\n' % one for one in range(100_000))
    ),
    "many damaged lines": lambda: _WHOLE + b"[\n" * 100_000,
    "many keys of software": lambda: _many_keys("run", "software"),
    "many keys of a request": lambda: _many_keys("run", "request"),
    "many keys of a config": lambda: _many_keys("record", "config"),
    "many keys of modes": lambda: _many_keys("record", "modes"),
    "many turns": _many_turns,
}
"""The file, by what is wrong with it."""


def _bomb() -> bytes:
    return gzip.compress(bytes(2**26))
