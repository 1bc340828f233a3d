"""Claims that a datasheet decides: printed peaks, and floors of time that follow from them."""

from gemmbench.analysis.claims.blocks import here
from gemmbench.analysis.claims.claim import ABOUT, Decision, Figure, Verdict, about, number
from gemmbench.analysis.claims.evidence import H100, MI300X, Known, cited, peak, sheet
from gemmbench.records.evidence import Attention, attention_flop
from gemmkernels.precision import PRECISIONS

ROUNDED = 0.005
"""A printed peak is rounded by no more than half a percent."""

SPARSE_ROUNDED = 0.02
"""What lies within 2% of the sparse figure was read from it: 5229.8 is rounded to 5300 by 1.3%."""

READ = attention_flop(embed=4096, batch=32, sequence=1024)
DEFAULT = attention_flop(embed=4096, batch=1024, sequence=32)
"""FLOP of the module on (32, 1024, 4096): as 32 sequences of 1024 tokens, which is what a text
means by it; and as the module takes it by default (batch_first=False), 32 tokens of 1024
sequences, which is less."""

_MODULE = "8·B·S·E² + 4·B·S²·E of its dimensions"
_MEASURE = "gemmbench claims --measure on it"


def h100_3958(_: Known) -> Decision:
    """3958 TFLOPS in FP8 against the sheet's dense and sparse figures."""
    top = peak(H100, "fp8_e4m3")
    return _printed(H100, "H100", 3958.0, top.tflops, top.sparse_tflops, top.sources)


def mi300x_5300(_: Known) -> Decision:
    """5300 TFLOPS against the highest figures of the sheet, dense and sparse."""
    found = [sheet(MI300X).peak(row.name) for row in PRECISIONS.values() if not row.sparse]
    top = max(filter(None, found), key=lambda one: one.sparse_tflops or one.tflops)
    return _printed(MI300X, "MI300X", 5300.0, top.tflops, top.sparse_tflops, top.sources)


def _printed(
    device_id: str,
    name: str,
    claimed: float,
    dense: float,
    sparse: float | None,
    sources: tuple[str, ...],
) -> Decision:
    source = cited(device_id, sources)
    figures = [Figure(what="highest dense peak", value=dense, unit="TFLOPS", source=source)]
    if sparse:
        figures.append(Figure(what="with 2:4 sparsity", value=sparse, unit="TFLOPS", source=source))
    most = max(dense, sparse or 0.0)
    if abs(claimed / dense - 1) <= ROUNDED:
        return Decision(
            verdict="holds",
            because=f"The sheet's dense peak is {number(dense)} TFLOPS.",
            figures=tuple(figures),
        )
    if sparse and abs(claimed / sparse - 1) <= SPARSE_ROUNDED:
        apart, figure = claimed / sparse - 1, "the sparse figure"
        way = "up" if apart > 0 else "down"
        read = (
            f"{claimed:g} is {figure}"
            if abs(apart) <= ROUNDED
            else f"{claimed:g} seems to be {figure}, {number(sparse)}, rounded {way} by "
            f"{100 * abs(apart):.1f}%"
        )
        return Decision(
            verdict="does not hold",
            because=(
                f"{read}: it counts the zeros of 2:4 sparse matrices. The dense peak, which a "
                f"usual product has, is {number(dense)} TFLOPS, {number(100 * dense / claimed)}% "
                "of the claim."
            ),
            figures=tuple(figures),
        )
    if claimed > most * (1 + ROUNDED):
        return Decision(
            verdict="impossible",
            because=(
                f"No unit of an {name} reaches it in any precision: its highest figure is "
                f"{number(most)} TFLOPS{', with 2:4 sparsity' if sparse else ''}; dense it is "
                f"{number(dense)}, {number(100 * dense / claimed)}% of the claim."
            ),
            figures=tuple(figures),
        )
    return Decision(
        verdict="does not hold",
        because=f"The sheet has {number(dense)} TFLOPS dense and {number(most)} at most.",
        figures=tuple(figures),
    )


def floor_ms(flop: float, device_id: str, precision: str, *, highest: bool = False) -> float:
    """Milliseconds at the dense peak; `highest`: at the highest clock that the sheet has."""
    top, boost = peak(device_id, precision), sheet(device_id).boost_clock_mhz
    faster = max(1.0, boost / top.clock_mhz) if highest and boost and top.clock_mhz else 1.0
    return flop / (top.tflops * 1e9) / faster


def mha_2ms(known: Known) -> Decision:
    """About 2 ms on an H100, against the floor of the module's FLOP."""
    floor = floor_ms(DEFAULT, H100, "bf16", highest=True)
    measured = known.attention(H100)
    because = (
        f"The module does {READ / 1e12:.2f} TFLOP on 32 sequences of 1024 tokens "
        f"({DEFAULT / 1e12:.2f} if the first dimension is the sequence, as by default): in the 16 "
        f"bits of autocast {floor_ms(READ, H100, 'bf16'):.2f} ms at the dense peak, and never "
        f"under {floor:.2f} ms, the lesser reading at the highest clock. Autocast has no fp8; in "
        f"fp8 the floor would be {floor_ms(READ, H100, 'fp8_e4m3'):.2f} ms."
    )
    return Decision(
        verdict="impossible" if floor > ABOUT * 2.0 else _by_time(measured, 2.0),
        because=because + _told(measured, H100),
        figures=(*_floors(H100), *_timed(measured)),
        here=here(known),
        needs="" if measured else f"on an H100: {_MEASURE}",
    )


def mha_5ms(known: Known) -> Decision:
    """About 5 ms on an MI300X, and 2.5 times an H100's time."""
    floor = floor_ms(DEFAULT, MI300X, "bf16", highest=True)
    floor_h100 = floor_ms(DEFAULT, H100, "bf16", highest=True)
    allowed = ABOUT * 5.0 / 2.45
    measured, beside = known.attention(MI300X), known.attention(H100)
    share = READ / 5e9 / peak(MI300X, "bf16").tflops
    because = (
        f"5 ms alone would be {100 * share:.0f}% of MI300X's dense bf16 peak, at which 32 "
        f"sequences of 1024 take {floor_ms(READ, MI300X, 'bf16'):.2f} ms. But 2.5 times slower "
        "than an H100 leaves the "
        f"H100 2 ms, or {allowed:.2f} ms with both figures rounded in its favour, and an H100's "
        f"own floor is {floor_h100:.2f} ms, that of the lesser reading at the highest clock."
    )
    if measured and beside and measured.time_us and beside.time_us:
        because += f" Measured on both: {measured.time_us / beside.time_us:.2f} times as long."
    return Decision(
        verdict="impossible"
        if floor_h100 > allowed or floor > ABOUT * 5.0
        else _by_time(measured, 5.0),
        because=because + _told(measured, MI300X),
        figures=(*_floors(MI300X), _floors(H100)[-1], *_timed(measured), *_timed(beside)),
        needs="" if measured else f"the 5 ms alone, on an MI300X: {_MEASURE}",
    )


def _by_time(measured: Attention | None, claimed_ms: float) -> Verdict:
    if measured is None or not measured.time_us or _is_wrong(measured):
        return "undecided here"
    return "holds" if about(measured.time_us / 1e3, claimed_ms) else "does not hold"


def _is_wrong(measured: Attention) -> bool:
    """Is it faster than its own FLOP at the dense peak and the highest clock?"""
    floor = floor_ms(measured.flop, measured.device_id, "bf16", highest=True)
    return bool(measured.time_us and measured.time_us / 1e3 < floor)


def _told(measured: Attention | None, device_id: str) -> str:
    """A measurement against the floor of the FLOP that were measured."""
    if measured is None or not measured.time_us:
        return ""
    time, work = measured.time_us / 1e3, f"its {measured.flop / 1e12:.2f} TFLOP"
    if _is_wrong(measured):
        floor = floor_ms(measured.flop, device_id, "bf16", highest=True)
        return (
            f" A measurement says {time:.2f} ms, below the {floor:.2f} ms of {work} at the "
            "highest clock: it is wrong."
        )
    floor = floor_ms(measured.flop, device_id, "bf16")
    return (
        f" Measured, as {measured.batch} sequences of {measured.sequence}: {time:.2f} ms, "
        f"{time / floor:.2f} times the {floor:.2f} ms of {work} at the dense peak."
    )


def _floors(device_id: str) -> tuple[Figure, ...]:
    top = peak(device_id, "bf16")
    source = f"{_MODULE}; {cited(device_id, top.sources)}"
    cases = (
        ("floor in bf16, 32 sequences of 1024", floor_ms(READ, device_id, "bf16")),
        ("floor in bf16, 1024 sequences of 32", floor_ms(DEFAULT, device_id, "bf16")),
        (
            "floor in bf16, the lesser at the highest clock",
            floor_ms(DEFAULT, device_id, "bf16", highest=True),
        ),
    )
    return tuple(
        Figure(what=f"{device_id}: {what}", value=value, unit="ms", source=source)
        for what, value in cases
    )


def _timed(measured: Attention | None) -> tuple[Figure, ...]:
    if measured is None or not measured.time_us:
        return ()
    return (
        Figure(
            what=f"measured on {measured.device}",
            value=measured.time_us / 1e3,
            unit="ms",
            source=f"torch {measured.torch}, {measured.dtype} autocast, {measured.verdict}",
        ),
    )
