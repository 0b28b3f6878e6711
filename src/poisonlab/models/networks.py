"""The package's networks. Each takes (input_shape, num_classes) and returns logits [n, num_classes].

ReLU stands after pooling: the values are the same (both are monotone), on a quarter of the elements. Feature maps are flattened in the
order height, width, channels, which costs nothing in the channels_last layout that the trainer uses.
"""

import itertools
import math

from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """Fully connected ReLU network; for the toy studies (thesis, section 4.1) and vectors in general."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, hidden: tuple[int, ...] = (64, 64)) -> None:
        super().__init__()
        widths = [math.prod(input_shape), *hidden, num_classes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [n, …] to logits [n, num_classes]."""
        hidden = inputs.flatten(1)
        for layer in self.layers[:-1]:
            hidden = F.relu(layer(hidden))
        return self.layers[-1](hidden)


class _TwoConvolutions(nn.Module):
    """Two convolutions and two linear layers; what differs between the variants are the shapes."""

    def __init__(
        self, first: nn.Conv2d, second: nn.Conv2d, pools: tuple[int, int], side: tuple[int, int], hidden: int, out: int
    ) -> None:
        super().__init__()
        self.first, self.second, self.pools = first, second, pools
        if min(side) < 1:
            raise ValueError("the images are too small for two poolings")
        self.hidden = nn.Linear(second.out_channels * side[0] * side[1], hidden)
        self.output = nn.Linear(hidden, out)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [n, channels, height, width] to logits [n, num_classes]."""
        maps = F.relu(_pool(self.first(inputs), self.pools[0]))
        maps = F.relu(_pool(self.second(maps), self.pools[1]))
        hidden = F.relu(self.hidden(maps.permute(0, 2, 3, 1).flatten(1)))
        return self.output(hidden)


def _pool(maps: Tensor, size: int) -> Tensor:
    return F.max_pool2d(maps, size) if size > 1 else maps


class Pooled(_TwoConvolutions):
    """Conv 3×3 (16), pool, conv 3×3 (32), pool, 100 hidden units: the default victim, above 99 % on MNIST."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        channels, height, width = input_shape
        first, second = nn.Conv2d(channels, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        super().__init__(first, second, (2, 2), (height // 4, width // 4), 100, num_classes)


class Strided(_TwoConvolutions):
    """Two 4×4 convolutions of stride 2 (16, 32) and 100 hidden units: the fast variant."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        channels, height, width = input_shape
        first, second = nn.Conv2d(channels, 16, 4, 2, padding=1), nn.Conv2d(16, 32, 4, 2, padding=1)
        super().__init__(first, second, (1, 1), (height // 4, width // 4), 100, num_classes)


class Std(_TwoConvolutions):
    """Conv 3×3 (32), conv 3×3 (64), pool, 128 hidden units: the usual MNIST example, without its dropout."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        channels, height, width = input_shape
        first, second = nn.Conv2d(channels, 32, 3), nn.Conv2d(32, 64, 3)
        super().__init__(first, second, (1, 2), ((height - 4) // 2, (width - 4) // 2), 128, num_classes)
