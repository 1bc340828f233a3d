"""Whether a verdict or a status is good news."""

from typing import Literal

Tone = Literal["good", "warn", "bad", ""]

_TONES: dict[str, Tone] = {
    **dict.fromkeys(("converged", "faster"), "good"),
    **dict.fromkeys(("wrong", "failed", "timeout", "slower", "void", "impossible"), "bad"),
    **dict.fromkeys(("noisy", "drifting", "throttled", "contended", "unsure"), "warn"),
    "interrupted": "warn",
}


def tone_of(said: str) -> Tone:
    """The tone of a verdict or status, such as of "noisy, power limited"."""
    return _TONES.get(said.partition(":")[0].partition(",")[0], "")
