"""Vectors in compiled kernels: instructions that a compiler does not find by itself, for
`numba.extending.intrinsic`.
"""

import contextlib
import functools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba.core import cgutils

# Numba keeps a compiled kernel until its own file changes, or what it encloses. A kernel that encloses this number is
# compiled anew, too, when the instructions change that it takes from these files.
_FILES = ("vectors.py", "pooling.py")
HELPERS = zlib.crc32(b"".join(Path(__file__).with_name(name).read_bytes() for name in _FILES))


def data_of(context: Any, builder: Any, signature: Any, arguments: Any, position: int) -> Any:
    """Pointer to the numbers of the array that is the argument at this position."""
    return context.make_array(signature.args[position])(context, builder, arguments[position]).data


class Vectors:
    """Instructions on vectors of so many float32, a product and a sum in one rounding where the processor can."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        self.vector = ir.VectorType(ir.FloatType(), lanes)
        self.zero = ir.Constant(self.vector, [0.0] * lanes)
        self.add, self.subtract, self.times = (
            functools.partial(make, flags=("contract",)) for make in (builder.fadd, builder.fsub, builder.fmul)
        )

    def sum(self, start: Any, *steps: tuple[int, Any]) -> Any:
        """A place: the start plus so many times each step; None is 1."""
        for count, step in steps:
            many = ir.IntType(64)(count)
            start = self.builder.add(start, many if step is None else self.builder.mul(many, step))
        return start

    def load(self, data: Any, place: Any) -> Any:
        """The vector that begins at this place."""
        return self.builder.load(self._at(data, place), align=4)

    def store(self, value: Any, data: Any, place: Any) -> None:
        """Write the vector from this place on."""
        self.builder.store(value, self._at(data, place), align=4)

    def everywhere(self, data: Any, place: Any) -> Any:
        """A vector of one number."""
        builder, lane = self.builder, ir.IntType(32)
        number = builder.load(builder.gep(data, [place]), align=4)
        one = builder.insert_element(ir.Constant(self.vector, ir.Undefined), number, lane(0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(lane, self.lanes), [0] * self.lanes))

    @contextlib.contextmanager
    def along(self, count: Any) -> Iterator[Any]:
        """A loop over `count` numbers, a vector at a time."""
        step = ir.IntType(64)(self.lanes)
        with cgutils.for_range(self.builder, self.builder.udiv(count, step)) as loop:
            yield self.builder.mul(loop.index, step)

    def _at(self, data: Any, place: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(data, [place]), self.vector.as_pointer())
