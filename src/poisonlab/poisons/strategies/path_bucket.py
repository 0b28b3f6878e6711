"""Poisons at a given distance from the boundary, measured by the length of their adversarial path."""

from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, choose, strategy


@strategy("path_bucket", source="thesis, section 4.3.3, Figures 4.6b and 4.8", needs=("buckets",), axis="bucket")
def path_bucket(request: Request) -> Poison:
    """Relabel points of the source class drawn uniformly from one bucket of path lengths.

    The sweep axis is the bucket, 0 (nearest to the boundary) … count − 1 (farthest).
    """
    flip, dataset, buckets = request.flip, request.dataset, request.needs["buckets"]
    if request.axis_value not in set(buckets["bucket"]):
        raise InputError(
            f"bucket {request.axis_value} does not exist, allowed are 0 … {buckets['bucket'].max()}; change buckets.count"
        )
    pool = buckets.loc[buckets["bucket"] == request.axis_value, "index"].to_numpy()
    index = choose(
        pool,
        flip.budget,
        request.generator,
        f"bucket {request.axis_value:g} of class {flip.source} in '{dataset.name}'",
    )
    return request.relabel(index)
