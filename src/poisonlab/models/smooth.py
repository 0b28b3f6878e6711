"""A network whose trained weights change smoothly with its training points, for derivatives through training."""

import itertools

from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (16, 32, 64)
GROUPS = 8  # into which channels are divided; each is normalised together
SCALE = 10.0  # the logits are divided by it


class SmoothCNN(nn.Module):
    """Convolutions 3×3 (16, 32, 64), each normalised, with GELU and average pooling, and a linear layer.

    What makes training smooth in its data (Engstrom et al., Optimizing ML training with metagradient descent, 2025,
    section 3.2): average instead of max pooling, normalisation by groups of a point's own channels before the
    activation, an activation without a kink, and logits that are divided by 10. Maps are pooled before they are
    normalised, on a quarter of the elements. For 3×32×32 and three classes it has 23 779 weights.

    Raises:
        ValueError: the inputs are no images of 4×4 or more.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        channels, *sides = input_shape
        if len(sides) != 2 or min(sides) < 4:
            raise ValueError("it takes images of 4 by 4 pixels or more, for two poolings")
        widths = (channels, *CHANNELS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in itertools.pairwise(widths)
        )
        self.classify = nn.Linear(CHANNELS[-1], num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [n, channels, height, width] to logits [n, num_classes]."""
        maps = inputs
        for number, convolution in enumerate(self.convolutions, 1):
            maps = convolution(maps)
            maps = F.avg_pool2d(maps, 2) if number < len(self.convolutions) else maps
            maps = F.gelu(F.group_norm(maps, GROUPS))  # without weights of its own: the next layer has them
        return self.classify(maps.mean((2, 3))) / SCALE
