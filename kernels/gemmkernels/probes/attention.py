"""torch's multi-head attention as a function to time, and the product that its floor is read from.

The claim's module is `nn.MultiheadAttention(4096, 32)` on an input of (32, 1024, 4096).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Self-attention on `batch` sequences of `sequence` tokens of `embed` numbers.

    `batch_first` is the module's own option, and says in which order the input has the two.
    """

    embed: int
    heads: int
    batch: int
    sequence: int
    batch_first: bool

    def scaled(self, by: int) -> "Shape":
        """Every dimension divided by `by`; a head keeps its width."""
        return Shape(
            embed=self.embed // by,
            heads=self.heads // by,
            batch=max(1, self.batch // by),
            sequence=max(1, self.sequence // by),
            batch_first=self.batch_first,
        )


CLAIMED = Shape(embed=4096, heads=32, batch=32, sequence=1024, batch_first=True)
"""(32, 1024, 4096) as 32 sequences of 1024 tokens."""

DEFAULT = Shape(embed=4096, heads=32, batch=1024, sequence=32, batch_first=False)
"""The same input as the module takes it by default: 32 tokens of 1024 sequences."""


def forward(
    shape: Shape, *, need_weights: bool, device: str, dtype: "torch.dtype", seed: int = 0
) -> Callable[[], object]:
    """One forward in eval and inference mode under autocast; parameters and input in float32.

    The casts are part of it: autocast's cache of cast weights does not outlive its block.
    """
    import torch

    kind = torch.device(device).type
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = torch.nn.MultiheadAttention(
            shape.embed, shape.heads, batch_first=shape.batch_first
        )
    module = module.to(device).eval()
    sizes = (shape.batch, shape.sequence) if shape.batch_first else (shape.sequence, shape.batch)
    x = torch.randn(*sizes, shape.embed, generator=draw).to(device)

    def run() -> object:
        with torch.inference_mode(), torch.autocast(kind, dtype=dtype):
            return module(x, x, x, need_weights=need_weights)

    return run


def projection(
    shape: Shape, *, device: str, dtype: "torch.dtype", seed: int = 0
) -> Callable[[], object]:
    """The in-projection's product alone, [B·S, E] by [E, 3·E], in the type that autocast casts to.

    2 · B·S · 3·E · E FLOP.
    """
    import torch

    draw = torch.Generator().manual_seed(seed)
    tokens = shape.batch * shape.sequence
    a = torch.randn(tokens, shape.embed, generator=draw).to(device, dtype)
    b = torch.randn(shape.embed, 3 * shape.embed, generator=draw).to(device, dtype)
    out = torch.empty(tokens, 3 * shape.embed, device=device, dtype=dtype)
    return lambda: torch.matmul(a, b, out=out)


def projection_flop(shape: Shape) -> int:
    return 2 * shape.batch * shape.sequence * 3 * shape.embed**2
