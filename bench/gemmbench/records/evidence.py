"""What the compiler, torch's autocast and measured layers of a model say to the claims.

`evidence.json` is what they said when this version was made, with the versions that said it.
`gemmbench claims --measure` asks again.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated

import msgspec

from gemmkernels.errors import GemmbenchError

_FILE = Path(__file__).with_name("evidence.json")

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e40)]


class Emitted(msgspec.Struct, frozen=True, kw_only=True):
    """Matrix instructions that a compiler made of a product of this encoding, with their counts.

    `verdict` is matrix cores (in the encoding's own type), emulated (converted first) or vector.
    """

    target: str
    precision: str
    encoding: str
    verdict: str
    instructions: dict[str, int] = {}


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """What torch.autocast does with a type on a kind of device (cpu, cuda).

    `accepted`: it took the type without disabling itself. `made` is the type of a linear layer's
    output under it, empty where that raised. `said` is its warning or error, in one line.
    """

    device_type: str
    dtype: str
    accepted: bool
    made: str
    said: str = ""


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """One forward of nn.MultiheadAttention in eval and inference mode under autocast, measured.

    Microseconds with a 95% interval; None where neighbours on the cores left no figure. `scale` is
    what each of the claim's dimensions was divided by. `matmul_tflops` is torch's own rate on the
    in-projection's product, measured in the same rounds.
    """

    device: str
    device_id: str
    torch: str
    dtype: str
    embed: int
    heads: int
    batch: int
    sequence: int
    batch_first: bool
    need_weights: bool
    scale: int
    time_us: Positive | None
    low_us: float | None
    high_us: float | None
    verdict: str
    matmul_tflops: Positive | None

    @property
    def flop(self) -> int:
        return attention_flop(embed=self.embed, batch=self.batch, sequence=self.sequence)


class Mlp(msgspec.Struct, frozen=True, kw_only=True):
    """One forward of a Llama MLP block in inference mode, measured beside its three products alone.

    `how` is eager or compiled (torch.compile). Microseconds with a 95% interval; `ratio` is its
    time over that of its products, paired by rounds, with its interval. None where there is no
    figure: `reason` says why, or neighbours on the cores left none. `scale` is what each of the
    model's dimensions was divided by. It was verified against float64 before.
    """

    device: str
    device_id: str
    torch: str
    dtype: str
    model: str
    hidden: int
    ffn: int
    tokens: int
    scale: int
    how: str
    time_us: Positive | None = None
    low_us: float | None = None
    high_us: float | None = None
    verdict: str = ""
    products_us: Positive | None = None
    ratio: Positive | None = None
    ratio_low: Positive | None = None
    ratio_high: Positive | None = None
    reason: str = ""

    @property
    def flop(self) -> int:
        """Of the three products: 2 · tokens · 3 · hidden · ffn."""
        return 6 * self.tokens * self.hidden * self.ffn


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; `triton` and `torch` are the versions that said so. `kept` is not of this run."""

    triton: str
    torch: str
    emitted: tuple[Emitted, ...] = ()
    casts: tuple[Cast, ...] = ()
    attention: tuple[Attention, ...] = ()
    mlp: tuple[Mlp, ...] = ()
    kept: bool = False


def attention_flop(*, embed: int, batch: int, sequence: int) -> int:
    """FLOP of one forward of multi-head self-attention, whatever its number of heads.

    Projections of query, key, value and output, 2·4·B·S·E²; scores and their product with the
    values, 2·2·B·S²·E. Softmax, biases and scaling are left out: a floor.
    """
    return 8 * batch * sequence * embed**2 + 4 * batch * sequence**2 * embed


@lru_cache(maxsize=1)
def kept() -> Evidence:
    """The evidence that ships; raises GemmbenchError if the file is damaged."""
    try:
        found = msgspec.json.decode(_FILE.read_bytes(), type=Evidence)
    except (OSError, msgspec.MsgspecError) as error:
        raise GemmbenchError(f"{_FILE.name}: {error}: install gemmbench again") from None
    return msgspec.structs.replace(found, kept=True)
