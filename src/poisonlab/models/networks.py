"""The package's networks. Each takes (input_shape, num_classes) and returns logits [n, num_classes].

ReLU stands after pooling: the values are the same (both are monotone), on a quarter of the elements. Feature maps are
flattened in the order height, width, channels, which costs nothing in the channels_last layout that the trainer uses.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab.models.kernels.functions import pooled_convolution


def _hidden(width: int, depth: int) -> list[int]:
    """Widths of the hidden layers.

    Raises:
        ValueError: there is no unit, or fewer than no layer.
    """
    if width < 1 or depth < 0:
        raise ValueError(f"width {width} and depth {depth}, they must be at least 1 and 0")
    return [width] * depth


class MLP(nn.Module):
    """Fully connected ReLU network of `depth` hidden layers of `width` units; for the toy studies and vectors in
    general.

    Args:
        scale: above 0; inputs are divided by it before the first layer is shown them. Attacks still move the inputs.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, width: int = 64, depth: int = 2, scale: float = 1.0
    ) -> None:
        super().__init__()
        if not 0 < scale < math.inf:
            raise ValueError(f"scale is {scale}, it must be a finite number above 0")
        self.scale = scale
        widths = [math.prod(input_shape), *_hidden(width, depth), num_classes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [n, …] to logits [n, num_classes]."""
        hidden = self.encode(inputs.flatten(1))
        for layer in self.layers[:-1]:
            hidden = F.relu(layer(hidden))
        return self.layers[-1](hidden)

    def encode(self, inputs: Tensor) -> Tensor:
        """What the first layer is shown of inputs [..., features]; here the inputs themselves, scaled."""
        return inputs if self.scale == 1 else inputs / self.scale


def hash_bits(inputs: Tensor, bits: int, modulus: int) -> Tensor:
    """Hash every number x to the `bits` binary digits of ⌊x · 2^bits⌋ mod `modulus`, highest first (thesis, Listing
    A.1).

    Args:
        inputs: [..., features], rounded to float32. bits: such that 2^bits > modulus, its P.

    Returns:
        [..., features · bits] of 0 and 1, in the type of the inputs. It has no gradient.
    """
    remainders = torch.floor(inputs.detach().float() * 2**bits).long() % modulus
    places = torch.arange(bits - 1, -1, -1, device=inputs.device)
    return ((remainders[..., None] >> places) & 1).flatten(-2).to(inputs.dtype)


class HashedMLP(MLP):
    """MLP that is shown the hash of its inputs instead of them, so that near points look unlike each other (thesis,
    Appendix A).

    Its gradient with respect to the inputs is 0: attacks that follow a gradient leave them as they are.

    Args:
        bits: BITS of the thesis's Listing A.1, the least for its P.
        modulus: P of the listing, which asks for 2^BITS > P.

    Raises:
        ValueError: 2^bits is not above the modulus.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, bits: int = 10, modulus: int = 941) -> None:
        if not 0 < modulus < 2**bits:
            raise ValueError(f"modulus {modulus} is not between 1 and 2^{bits} - 1; take more bits or a smaller one")
        super().__init__((math.prod(input_shape) * bits,), num_classes)
        self.bits, self.modulus = bits, modulus

    def encode(self, inputs: Tensor) -> Tensor:
        """Hash inputs [..., features]."""
        hashed = hash_bits(inputs, self.bits, self.modulus)
        # A gradient of 0 is a gradient: attacks ask for one.
        return hashed + 0 * inputs.repeat_interleave(self.bits, -1) if inputs.requires_grad else hashed


class NormalisedMLP(nn.Module):
    """MLP with batch normalisation before each ReLU (thesis, Appendix A).

    While it trains, a batch needs two points or more.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        widths = [math.prod(input_shape), *_hidden(width, depth)]
        # The normalisation takes any constant away again: no bias before it.
        blocks = [[nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU()] for a, b in itertools.pairwise(widths)]
        self.layers = nn.Sequential(*itertools.chain(*blocks), nn.Linear(widths[-1], num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [n, …] to logits [n, num_classes]."""
        return self.layers(inputs.flatten(1))


@dataclass(frozen=True)
class _Convolution:
    """A convolution with a square kernel, and the pooling after it; one that is pooled has stride 1."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    pool: int = 1

    def side(self, side: int, pooled: bool = True) -> int:
        """Side of the feature maps of images of this side, after pooling or before it."""
        convolved = (side + 2 * self.padding - self.kernel) // self.stride + 1
        return convolved // self.pool if pooled else convolved


class ConvolutionalNet(nn.Module):
    """Convolutions, then linear layers; what differs between the networks are `stages` and `hidden`."""

    stages: tuple[_Convolution, ...]
    hidden: tuple[int, ...] = ()

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        channels, *sides = input_shape
        self.convolutions = nn.ModuleList()
        for stage in self.stages:
            self.convolutions.append(
                nn.Conv2d(channels, stage.channels, stage.kernel, stage.stride, padding=stage.padding)
            )
            channels, sides = stage.channels, [stage.side(side) for side in sides]
        if min(sides) < 1:
            raise ValueError("the images are too small for its convolutions and poolings")
        widths = [channels * math.prod(sides), *self.hidden, num_classes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [n, channels, height, width] to logits [n, num_classes]."""
        maps = inputs
        for stage, convolution in zip(self.stages, self.convolutions, strict=True):
            if stage.pool > 1:
                weight, bias = convolution.parameters()
                maps = pooled_convolution(maps, weight, bias, stage.padding, stage.pool)
            else:
                maps = F.relu(convolution(maps))
        features = maps.permute(0, 2, 3, 1).flatten(1)
        for layer in self.layers[:-1]:
            features = F.relu(layer(features))
        return self.layers[-1](features)


class Pooled(ConvolutionalNet):
    """Conv 3×3 (16), pool, conv 3×3 (32), pool, 100 hidden units: the default victim, above 99 % on MNIST."""

    stages = (_Convolution(16, 3, padding=1, pool=2), _Convolution(32, 3, padding=1, pool=2))
    hidden = (100,)


class Strided(ConvolutionalNet):
    """Two 4×4 convolutions of stride 2 (16, 32) and 100 hidden units: the fast variant."""

    stages = (_Convolution(16, 4, 2, padding=1), _Convolution(32, 4, 2, padding=1))
    hidden = (100,)


class StridedLinear(ConvolutionalNet):
    """Two 4×4 convolutions of stride 2 (16, 32) and a linear layer: as `Strided`, without hidden units."""

    stages = Strided.stages


class ConvPool(ConvolutionalNet):
    """Conv 3×3 (32), conv 3×3 (64), pool, 128 hidden units: PyTorch's MNIST example, without its dropout."""

    stages = (_Convolution(32, 3), _Convolution(64, 3, pool=2))
    hidden = (128,)


class SmallCNN(ConvolutionalNet):
    """Conv 3×3 (32, 64, 128) with a pooling after each, and a linear layer: for small colour images."""

    stages = tuple(_Convolution(channels, 3, padding=1, pool=2) for channels in (32, 64, 128))
