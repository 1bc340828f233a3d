"""What a table needs of a run file's lines: `load` reads these, and never a single sample."""

from typing import TypeAlias

import msgspec

from gemmbench.records.schema import (
    Check,
    Footer,
    Header,
    Launched,
    Record,
    Roof,
    SelfTest,
    Size,
    Status,
)
from gemmbench.timing.turn import Count, TurnOutline
from gemmkernels.kernel import settings_text


class RecordOutline(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="record", tag_field="type"
):
    """A `Record` without samples and launch parameters; fields as there."""

    group: str
    repeat: Count
    kernel: str
    tier: str
    backend: str
    base: bool
    m: Size
    n: Size
    k: Size
    batch: Size
    layout: str
    precision: str
    label: str
    status: Status
    encoding: str = ""
    out_dtype: str = ""
    accumulate: str = ""
    reason: str = ""
    launch: str = ""
    sets: Count | None = None
    turns: tuple[TurnOutline, ...] = ()
    n_samples: Count = 0
    check: Check | None = None
    splits: Count | None = None
    modes: dict[str, str] = {}
    limits: dict[str, float | None] = {}
    warnings: tuple[str, ...] = ()
    sitting: Count = 0
    experts: Size = 1
    ran_on: str = ""
    compiled: tuple[dict[str, object], ...] = ()
    settings: dict[str, int | str | bool] | None = None

    @property
    def case(self) -> str:
        """As `Record.case`."""
        name = f"{self.repeat}/{self.group}/{self.kernel}/{self.precision}"
        return f"{name}/{settings_text(self.settings)}" if self.settings else name


AnyRecord: TypeAlias = Record | RecordOutline
OutlineLine = Header | RecordOutline | SelfTest | Roof | Launched | Footer
