"""The machine code of a record's kernel, in cells: other versions may write other facts of it."""

import math
from collections import Counter
from dataclasses import dataclass

from gemmbench.records.outline import AnyRecord

MOST = 2**53


@dataclass(frozen=True, kw_only=True)
class Code:
    """Of all launches that a kernel makes: the matrix instructions by mnemonic and how often they
    stand in the code, the most registers a lane, the spills of all. NaN is "not known".
    """

    instructions: str
    registers: float
    spills: float


_NOTHING = Code(instructions="", registers=math.nan, spills=math.nan)


def code_of(record: AnyRecord) -> Code:
    """The facts of a record; those that are not of the type that is expected are left out."""
    if not record.compiled:
        return _NOTHING
    counts: Counter[str] = Counter()
    for call in record.compiled:
        found = call.get("instructions")
        for name, count in found.items() if isinstance(found, dict) else ():
            counts[str(name)] += _count(count) or 0
    registers, spills = _counts(record, "registers"), _counts(record, "spills")
    return Code(
        instructions=", ".join(f"{name} × {count}" for name, count in counts.items()),
        registers=max(registers, default=math.nan),
        spills=sum(spills) if spills else math.nan,
    )


def _counts(record: AnyRecord, name: str) -> list[int]:
    found = [_count(call.get(name)) for call in record.compiled]
    return [count for count in found if count is not None]


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None
