"""What a table needs of a run file's lines: `load` reads these, and never a single sample."""

from typing import TypeAlias

from gemmbench.records.schema import Footer, Header, Launched, Record, RecordFields, Roof, SelfTest
from gemmbench.timing.turn import TurnOutline


class RecordOutline(
    RecordFields, frozen=True, kw_only=True, gc=False, tag="record", tag_field="type"
):
    """A `Record` without samples and launch parameters; fields as there."""

    turns: tuple[TurnOutline, ...] = ()


AnyRecord: TypeAlias = Record | RecordOutline
OutlineLine = Header | RecordOutline | SelfTest | Roof | Launched | Footer
