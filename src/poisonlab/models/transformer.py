"""A small vision transformer: of the package's models the one of another family, neither dense nor convolutional."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Self-attention and a layer of its own for every token, each added to what it is shown normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.normalise = nn.LayerNorm(width, elementwise_affine=False)  # the next layer scales anyway
        self.attend, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [n, places, width] to tokens of the same shape."""
        apart = self.attend(self.normalise(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = apart.unbind()  # each [n, heads, places, width / heads]
        # Written out: the fused attention has no second derivative.
        weights = (queries @ keys.transpose(2, 3) / queries.shape[-1] ** 0.5).softmax(-1)
        tokens = tokens + self.join((weights @ values).transpose(1, 2).flatten(2))
        return tokens + self.narrow(F.gelu(self.widen(self.normalise(tokens))))


class Transformer(nn.Module):
    """Vision transformer (Dosovitskiy et al., 2021) without a class token: the mean of the tokens is classified.

    Args:
        patch: side of the square patches; zeros complete those at the right and lower edge. width: of a token; depth:
            blocks; heads: of their attention, a divisor of the width.

    Raises:
        ValueError: the heads do not share the width, a number is below 1, or the inputs are no images as large as a
            patch.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        patch: int = 7,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        channels, *sides = input_shape
        if min(patch, width, depth, heads) < 1 or width % heads:
            raise ValueError(f"{patch=}, {width=}, {depth=}, {heads=} must be 1 or more, and heads divide the width")
        if len(sides) != 2 or min(sides) < patch:
            raise ValueError(f"a patch of side {patch} is cut from images of this side or more")
        down, right = (-side % patch for side in sides)
        self.edges = (0, right, 0, down)
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        count = math.prod(math.ceil(side / patch) for side in sides)
        self.places = nn.Parameter(torch.randn(count, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.normalise, self.classify = nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [n, channels, height, width] to logits [n, num_classes]."""
        tokens = self.patches(F.pad(inputs, self.edges)).flatten(2).transpose(1, 2) + self.places
        return self.classify(self.normalise(self.blocks(tokens)).mean(1))
