"""The MLP block of a Llama model as a function to time, and the products that it is made of.

y = (SiLU(x · Wgᵀ) ∘ (x · Wuᵀ)) · Wdᵀ: gate and up, which tensor parallelism splits by columns, SiLU
and a product element by element, then down.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Block:
    """`tokens` rows of `hidden` numbers, `ffn` of them between the products."""

    model: str
    hidden: int
    ffn: int
    tokens: int

    @property
    def flop(self) -> int:
        """Of the three products: 2 · tokens · 3 · hidden · ffn."""
        return 6 * self.tokens * self.hidden * self.ffn

    def scaled(self, by: int) -> "Block":
        """Every dimension divided by `by`."""
        return Block(
            model=self.model,
            hidden=self.hidden // by,
            ffn=self.ffn // by,
            tokens=max(1, self.tokens // by),
        )


BLOCKS = tuple(
    Block(model=model, hidden=hidden, ffn=ffn, tokens=tokens)
    for model, hidden, ffn in (("Llama-3-8B", 4096, 14336), ("Llama-3-70B", 8192, 28672))
    for tokens in (16, 2048)
)
"""A batch in decoding, and a sequence in prefill. Widths: litgpt config.py, torchtitan
models/llama3, vLLM benchmarks/kernels/weight_shapes.py."""


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """Input [tokens, hidden] and weights as torch.nn.Linear stores them, [out, in]."""

    x: "torch.Tensor"
    gate: "torch.Tensor"
    up: "torch.Tensor"
    down: "torch.Tensor"


def tensors(block: Block, *, device: str, dtype: "torch.dtype", seed: int = 0) -> Tensors:
    """Normal ones, scaled so that each product's output is of the size of its input."""
    import torch

    draw = torch.Generator(device).manual_seed(seed)

    def normal(rows: int, columns: int, size: float) -> torch.Tensor:
        found = torch.randn(rows, columns, generator=draw, device=device)
        return found.mul_(size).to(dtype)

    return Tensors(
        x=normal(block.tokens, block.hidden, 1.0),
        gate=normal(block.ffn, block.hidden, block.hidden**-0.5),
        up=normal(block.ffn, block.hidden, block.hidden**-0.5),
        down=normal(block.hidden, block.ffn, block.ffn**-0.5),
    )


def mlp(
    x: "torch.Tensor", gate: "torch.Tensor", up: "torch.Tensor", down: "torch.Tensor"
) -> "torch.Tensor":
    """The block as the models' own code has it, its weights without biases."""
    from torch.nn.functional import linear, silu

    return linear(silu(linear(x, gate)) * linear(x, up), down)


def forward(of: Tensors, *, compiled: bool) -> Callable[[], "torch.Tensor"]:
    """One forward in inference mode, by torch eagerly, or by torch.compile in its default mode.

    Compiles in the first call.
    """
    import torch

    block: Callable[..., torch.Tensor] = mlp
    if compiled:
        block = torch.compile(mlp, dynamic=False, fullgraph=True)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return block(of.x, of.gate, of.up, of.down)

    return run


def products(of: Tensors) -> Callable[[], object]:
    """The block's three products alone, called as the block calls them."""
    import torch
    from torch.nn.functional import linear

    with torch.inference_mode():
        between = linear(of.x, of.up)

    def run() -> object:
        with torch.inference_mode():
            return linear(of.x, of.gate), linear(of.x, of.up), linear(between, of.down)

    return run
