"""Poisons at a given distance from the boundary, measured by the length of their adversarial path."""

from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, choose, strategy


@strategy(
    "path_bucket", source="thesis, section 4.3.3, Figures 4.6b and 4.8", needs=("buckets",), parameters={"bucket": 0}
)
def path_bucket(request: Request) -> Poison:
    """Relabel points of the source class drawn uniformly from one bucket of path lengths.

    `bucket` is 0 (nearest to the boundary) … count − 1 (farthest).
    """
    flip, dataset, buckets = request.flip, request.dataset, request.needs["buckets"]
    bucket = request.parameters["bucket"]
    if bucket not in set(buckets["bucket"]):
        raise InputError(
            f"bucket {bucket} does not exist, allowed are 0 … {buckets['bucket'].max()}; change buckets.count"
        )
    pool = buckets.loc[buckets["bucket"] == bucket, "index"].to_numpy()
    index = choose(
        pool,
        flip.budget,
        request.generator,
        f"bucket {bucket:g} of class {flip.source} in '{dataset.name}'",
    )
    return request.relabel(index)
