"""Residual networks for small images, of torchvision's blocks.

The first layer is a 3 × 3 convolution of stride 1 without pooling after it, as usual for images of 32 × 32 pixels:
torchvision's own takes a sixteenth of the pixels, which suits 224 × 224.
"""

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, Bottleneck


class ResNet(nn.Module):
    """ResNet-18, -34 or -50 (He et al., 2016).

    Args:
        depth: 18, 34 or 50. width: channels of the first stage, 64 in the paper; the others have 2, 4 and 8 times as
            many.

    Raises:
        ValueError: the depth is none of these, the width is below 1, or the inputs are no
            images of 8 × 8 pixels or more.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, depth: int = 18, width: int = 64) -> None:
        super().__init__()
        stages = {18: (BasicBlock, 2, 2, 2, 2), 34: (BasicBlock, 3, 4, 6, 3), 50: (Bottleneck, 3, 4, 6, 3)}
        if depth not in stages or width < 1:
            raise ValueError(f"depth {depth} and width {width}, allowed are {sorted(stages)} and 1 or more")
        channels, *sides = input_shape
        if len(sides) != 2 or min(sides) < 8:
            raise ValueError("it halves the sides three times, which takes images of 8 × 8 pixels or more")
        block, *counts = stages[depth]
        layers: list[nn.Module] = [*_normalised(channels, width, 3), nn.ReLU()]
        before = width
        for stage, count in enumerate(counts):
            for number in range(count):
                after, stride = width * 2**stage, 2 if stage and not number else 1
                wide = after * block.expansion
                # The shortcut is the identity where nothing changes its shape.
                shortcut = (
                    None if (before, stride) == (wide, 1) else nn.Sequential(*_normalised(before, wide, 1, stride))
                )
                layers.append(block(before, after, stride, shortcut))
                before = wide
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classify = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [n, channels, height, width] to logits [n, num_classes]."""
        return self.classify(self.layers(inputs))


def _normalised(channels: int, width: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(width)


class _PreActBlock(nn.Module):
    """Normalisation and ReLU before each of two convolutions; the shortcut begins behind the first ReLU where it
    changes the shape.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.convolve = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.again = nn.Conv2d(after, after, 3, padding=1, bias=False)
        changes = stride != 1 or before != after
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False) if changes else None

    def forward(self, inputs: Tensor) -> Tensor:
        active = F.relu(self.first(inputs))
        around = inputs if self.shortcut is None else self.shortcut(active)
        return around + self.again(F.relu(self.second(self.convolve(active))))


class PreActResNet(nn.Module):
    """PreActResNet-18 (He et al., 2016, Identity Mappings in Deep Residual Networks), the usual net of one-step
    adversarial training.

    Args:
        width: channels of the first stage, 64 in the paper; the others have 2, 4 and 8 times as many.

    Raises:
        ValueError: the width is below 1, or the inputs are no images of 8 × 8 pixels or more.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, width: int = 64) -> None:
        super().__init__()
        channels, *sides = input_shape
        if width < 1 or len(sides) != 2 or min(sides) < 8:
            raise ValueError(f"width {width}, allowed is 1 or more, and images of 8 × 8 pixels or more")
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
        before = width
        for stage in range(4):
            for number in range(2):
                after = width * 2**stage
                layers.append(_PreActBlock(before, after, 2 if stage and not number else 1))
                before = after
        self.layers = nn.Sequential(*layers)
        self.normalise, self.classify = nn.BatchNorm2d(before), nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [n, channels, height, width] to logits [n, num_classes]."""
        return self.classify(F.relu(self.normalise(self.layers(inputs))).mean((2, 3)))
