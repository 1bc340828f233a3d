"""The CUTLASS profiler's CSV and its console (NVIDIA/cutlass, tools/profiler).

m, n and k are mathematical, layouts stand beside the types, and where C is column-major the product
is transposed into ours. Runtime is ms, FLOPs are counted with K + 1, "GB/s" are GiB/s. Only rows
that say `passed` were verified; `incorrect` ones carry rates that look like any other's.
"""

import re
from collections.abc import Iterator

from gemmbench.records.imports.cutlass_arguments import operand, settings_of
from gemmbench.records.imports.cutlass_types import precision_of
from gemmbench.records.imports.dtypes import encoding_of, modes_of, type_of
from gemmbench.records.imports.text import lines, number, positive, whole
from gemmbench.records.imports.words import Asked, Findings, How, Place, Told, plain
from gemmbench.records.schema import Status
from gemmkernels.errors import one_line

_HEAD = "problem,provider,operationkind"
_PAIR = re.compile(r"--([A-Za-z_]{1,40})=(\S{1,200})")
_FIELD = re.compile(
    r"\s{0,40}(Problem ID|Provider|OperationKind|Operation|Status|Disposition|Runtime|Math|Memory)"
    r":\s{0,20}(.{0,300})"
)

Cells = dict[str, str]


def read(text: str, _: Asked) -> Findings:
    """All rows of all CSV blocks and all console blocks; what stands in both is one."""
    found = Findings()
    for cells in (*_console(text), *_csv(text, found)):
        told = _told(cells, found)
        if told is not None:
            found.add(told)
    return found


def _csv(text: str, found: Findings) -> Iterator[Cells]:
    columns: list[str] = []
    for line in lines(text):
        bare = line.strip()
        if _HEAD in bare.lower():
            columns = [name.strip().lower() for name in bare.split(",")]
        elif columns and "," in bare:
            cells = bare.split(",")
            if len(cells) == len(columns):
                yield dict(zip(columns, (cell.strip() for cell in cells), strict=True))
            elif len(cells) > 20:
                found.leave("with cells that do not fit the header")


def _console(text: str) -> Iterator[Cells]:
    """The blocks that the profiler prints, in the words of its CSV."""
    block: Cells = {}
    for line in lines(text):
        field = _FIELD.match(line)
        if field and field[1] == "Problem ID":
            if "operation" in block:
                yield block
            block = {"problem": field[2].strip()}
        elif field and block:
            value = field[2].strip()
            match field[1]:
                case "Runtime":
                    block["runtime"] = value.removesuffix("ms").strip()
                case "Math":
                    block["gflops"] = value.removesuffix("GFLOP/s").strip()
                case "Memory":
                    block["gb/s"] = value.removesuffix("GiB/s").strip()
                case "Disposition" | "Status":
                    block[field[1].lower()] = value.lower().replace(" ", "_")
                case name:
                    block[name.lower()] = value
        elif block and line.lstrip().startswith(("Arguments:", "--")):
            block |= {name.lower(): value for name, value in _PAIR.findall(line)}
    if "operation" in block:
        yield block


def _told(cells: Cells, found: Findings) -> Told | None:
    operation, provider = cells.get("operation", ""), cells.get("provider", "").lower()
    if cells.get("operationkind", "gemm").lower() not in ("gemm", "spgemm"):
        found.leave(f"of the kind {cells['operationkind']}, which is no plain product")
        return None
    if provider.startswith("reference"):
        found.leave("of the profiler's own reference")
        return None
    disposition = cells.get("disposition", "").lower()
    if disposition == "not_run":
        found.leave("not run")
        return None
    m, n, k = (whole(cells.get(name)) for name in ("m", "n", "k"))
    if not m or not n or not k:
        found.leave("without a shape")
        return None
    a, a_layout = operand(cells.get("a", ""), runtime=_runtime(cells, "a"))
    b, b_layout = operand(cells.get("b", ""), runtime=_runtime(cells, "b"))
    d, d_layout = operand(cells.get("d") or cells.get("c", ""), runtime="")
    if {a_layout, b_layout, d_layout} - {"row", "column"}:
        found.leave("with an interleaved layout")
        return None
    name = precision_of(a, b, operation=operation, cells=cells)
    if name is None:
        found.leave(f"of types that no precision here has: {a} x {b}, {cells.get('accum', '')}")
        return None
    # C = A B stored by columns is the product of the transposes stored by rows.
    swap = d_layout == "column"
    tile, split = _tile(cells, swap=swap), whole(cells.get("split_k_slices"))
    letters = {"row": "n", "column": "t"}
    layout = letters[a_layout] + letters[b_layout]
    if swap:
        m, n = n, m
        flip = {"row": "t", "column": "n"}
        layout = flip[b_layout] + flip[a_layout]
    time_ms = positive(cells.get("runtime"))
    status, reason = _status(cells, time_ms)
    output, accumulate = _dtype(d), _dtype(cells.get("accum", ""))
    modes = modes_of(name, accumulate=accumulate, output=output)
    if "fastaccum" in operation:
        modes["accumulate"] = "fast"
    if number(cells.get("beta")) not in (None, 0.0):
        modes["beta"] = one_line(cells["beta"], 20)
    rate, gibps = number(cells.get("gflops")), number(cells.get("gb/s"))
    kind = type_of(a)
    is_ours = provider in ("", "cutlass")
    return Told(
        kernel=plain(operation if is_ours else f"{provider}-{operation}", "cutlass"),
        backend="cutlass" if is_ours else plain(provider, "cutlass"),
        tier=("tiled" if cells.get("op_class") == "simt" else "matrix-core")
        if is_ours
        else "library",
        m=m,
        n=n,
        k=k,
        batch=whole(cells.get("batch_count")) or 1,
        layout=layout,
        precision=name,
        how=How(preset="cutlass-profiler"),
        place=Place(vendor="nvidia"),
        time_ns=time_ms * 1e6 if time_ms else None,
        told_tflops=rate / 1e3 if rate is not None else None,
        status=status,
        reason=reason,
        verified=disposition == "passed",
        encoding=encoding_of(kind) if kind else "",
        out_dtype=output,
        accumulate=accumulate,
        modes=modes,
        settings=settings_of(cells),
        tile=tile if is_ours else None,
        splits=split if is_ours else None,
        config={
            "operation": operation[:200] or None,
            "told_gbps": gibps * 2**30 / 1e9 if gibps is not None else None,
            "disposition": disposition[:40] or None,
        },
    )


def _runtime(cells: Cells, side: str) -> str:
    return cells.get(f"runtime_input_datatype_{side}", "").lower()


def _dtype(word: str) -> str:
    from gemmbench.records.imports.dtypes import dtype_of

    found = dtype_of(word)
    return f"{found}fn" if found == "float8_e4m3" else found


def _tile(cells: Cells, *, swap: bool) -> tuple[int, int, int] | None:
    """The thread block's, in our order: M, N, K."""
    found = [whole(cells.get(f"cta_{axis}")) for axis in ("m", "n", "k")]
    if not all(found):
        return None
    m, n, k = (size or 0 for size in found)
    return (n, m, k) if swap else (m, n, k)


def _status(cells: Cells, time_ms: float | None) -> tuple[Status, str]:
    disposition = cells.get("disposition", "").lower()
    status = cells.get("status", "").lower()
    if disposition == "incorrect":
        return "wrong", "the profiler found it incorrect"
    if disposition in ("not_supported", "invalid_problem") or "not_supported" in status:
        return "unsupported", disposition.replace("_", " ") or one_line(status, 60)
    if disposition == "failed" or status not in ("", "success"):
        return "failed", one_line(status if status not in ("", "success") else disposition, 60)
    if time_ms is None:
        return "failed", "no runtime"
    return "ok", ""
