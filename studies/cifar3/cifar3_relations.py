"""A relation of this study alone: what a value that was chosen by some draws does on the others."""

from poisonlab.claims.comparisons import larger_grids
from poisonlab.claims.evidence import Data, Evidence, filled_mean
from poisonlab.claims.relations import Settings, relation


@relation(
    "best_below",
    parameters={"margin": 0.0, "paired_by": ("training set", "repeat")},
    required=("margin",),
    selectors=("of", "than"),
)
def best_below(data: Data, settings: Settings) -> Evidence:
    """The value of `of`'s axis that is lowest on the even draws is below `than` on the odd ones."""
    best = min(data.of, key=lambda one: filled_mean(one.grid[0::2]))
    (other,) = data.than
    words = f"{other.name} − {best.name} at {best.place} (lowest on even draws)"
    return larger_grids([(other.grid[1::2], best.grid[1::2])], [words], data, **settings)
