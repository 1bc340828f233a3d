"""torch's collectives on single tensors, under the names that they have in any torch."""

from typing import Any

import torch.distributed as dist

# torch 2.13 has renamed the two, and warns of the old names.
all_gather: Any = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
reduce_scatter: Any = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
all_reduce: Any = dist.all_reduce
