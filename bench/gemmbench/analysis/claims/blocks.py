"""Layers of a model as torch runs them, each against the products that it is made of."""

from gemmbench.analysis.claims.claim import number
from gemmbench.analysis.claims.evidence import H100, Known
from gemmbench.records.evidence import Attention, Mlp


def here(known: Known) -> tuple[str, ...]:
    """The attention layer on other devices than the claim's, or smaller, and the MLP blocks.

    Of what was measured when this version was made only what has a ratio: why another has none is
    of that machine.
    """
    asked = known.asked
    start = "measured for this version on " if asked.kept else ""
    layers = [
        told_of(one, known.roofs.get(one.device))
        for one in asked.attention
        if (one.device_id != H100 or one.scale > 1)
        and not (asked.kept and (one.verdict == "contended" or not one.time_us))
    ]
    blocks = [
        told_of_mlp(one, known.roofs.get(one.device))
        for one in asked.mlp
        if one.ratio or not asked.kept
    ]
    return tuple(f"{start}{text}" for text in (*layers, *blocks))


def told_of(one: Attention, roof: tuple[float, str] | None = None) -> str:
    """A measurement in a sentence; its floor at the measured roof, or else at the rate of torch's
    own product."""
    order = "batch_first" if one.batch_first else "by default"
    size = f"({one.batch}, {one.sequence}, {one.embed})"
    if not one.batch_first:
        size = f"({one.sequence}, {one.batch}, {one.embed})"
    scaled = f", each dimension 1/{one.scale} of the claim's" if one.scale > 1 else ""
    what = (
        f"{one.device}: {size} {order}, {one.heads} heads{scaled}, "
        f"need_weights={one.need_weights}, {one.dtype}"
    )
    if not one.time_us:
        return f"{what}: no figure, as neighbours took the cores"
    if one.verdict == "contended":
        return f"{what}: {number(one.time_us / 1e3)} ms, contended: no ratio is claimed"
    tflops, source = roof or (one.matmul_tflops, "of torch's matmul beside it")
    if tflops is None:
        return f"{what}: {number(one.time_us / 1e3)} ms; no floor, as the product was disturbed"
    floor = one.flop / tflops / 1e9
    return (
        f"{what}: {_ms(one)} for {one.flop / 1e9:.3g} GFLOP, "
        f"{one.time_us / 1e3 / floor:.2f} times the {number(floor)} ms that they take at the "
        f"{number(tflops)} TFLOPS {source}"
    )


def told_of_mlp(one: Mlp, roof: tuple[float, str] | None = None) -> str:
    """A measurement in a sentence: the block's time over that of its products, and what share of it
    is none of theirs; its floor at the measured roof, where there is one."""
    scaled = f", each dimension 1/{one.scale} of the model's" if one.scale > 1 else ""
    what = (
        f"{one.device}: MLP block of {one.model}, {one.tokens} tokens, {one.hidden} → {one.ffn} → "
        f"{one.hidden}{scaled}, {one.dtype}, {one.how}"
    )
    if one.reason:
        return f"{what}: no figure, {one.reason}"
    if not one.time_us:
        return f"{what}: no figure, as neighbours took the cores"
    if not (one.ratio and one.products_us):
        return f"{what}: {number(one.time_us / 1e3)} ms, contended: no ratio is claimed"
    text = (
        f"{what}: {_ms(one)} for {one.flop / 1e9:.3g} GFLOP, {_times(one)} that of its three "
        f"products alone ({number(one.flop / one.products_us / 1e6)} TFLOPS): {_share(one)}"
    )
    if roof is None:
        return text
    floor = one.flop / roof[0] / 1e9
    return (
        f"{text}; {one.time_us / 1e3 / floor:.2f} times the {number(floor)} ms that they take at "
        f"the {number(roof[0])} TFLOPS {roof[1]}"
    )


def _times(one: Mlp) -> str:
    if one.ratio_low is None or one.ratio_high is None:
        return f"{one.ratio:.3f} times"
    return f"{one.ratio:.3f} times ({one.ratio_low:.3f} … {one.ratio_high:.3f})"


def _share(one: Mlp) -> str:
    """What of the block's time is not GEMM: 1 − 1/ratio, where the interval is above 1."""
    share = not_gemm(one)
    if share is None:
        return "not to be told from them"
    return f"{100 * share:.1f}% of its time is SiLU, memory traffic and launches"


def not_gemm(one: Mlp) -> float | None:
    """The share of the block's time that its products alone don't take; None if it is unsure."""
    if one.ratio is None or one.ratio_low is None or one.ratio_low <= 1:
        return None
    return 1 - 1 / one.ratio


def beside_products(known: Known) -> str:
    """What an H100 does beside the products, in the blocks that were measured there whole."""
    found = [
        f"{100 * share:.1f}% ({one.model}, {one.tokens} tokens, {one.how})"
        for one in known.asked.mlp
        if one.device_id == H100 and one.scale == 1 and (share := not_gemm(one)) is not None
    ]
    return f" Of a Llama MLP block's time there is no GEMM: {', '.join(found)}." if found else ""


def _ms(one: Attention | Mlp) -> str:
    text = f"{number((one.time_us or 0.0) / 1e3)} ms"
    if one.low_us is None or one.high_us is None:
        return text
    return f"{text} ({number(one.low_us / 1e3)} … {number(one.high_us / 1e3)})"
