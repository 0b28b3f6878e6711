"""The contestants: for each workload what users do today, and what this package does.

A contestant prepares itself, calls `ready` (which returns when all workers are ready), works, and returns units of work
per second.
"""

from poisonlab.benchmark.attacking import active_set_paths, active_set_pgd, fixed_paths, fooled_share, torchattacks_pgd
from poisonlab.benchmark.differentiating import (
    own_hypergradients,
    sequential_hypergradients,
    swept_hypergradients,
    torchopt_hypergradients,
)
from poisonlab.benchmark.training import (
    adversarial_engine,
    chunk,
    dataloader_loop,
    loop_engine,
    peak,
    resident_loop,
    sequential_mlps,
    stacked_engine,
    torchattacks_loop,
    vmap_ensemble,
    vmap_mlps,
)

__all__ = [
    "active_set_paths",
    "active_set_pgd",
    "adversarial_engine",
    "chunk",
    "dataloader_loop",
    "fixed_paths",
    "fooled_share",
    "loop_engine",
    "own_hypergradients",
    "peak",
    "resident_loop",
    "sequential_hypergradients",
    "sequential_mlps",
    "stacked_engine",
    "swept_hypergradients",
    "torchattacks_loop",
    "torchattacks_pgd",
    "torchopt_hypergradients",
    "vmap_ensemble",
    "vmap_mlps",
]
