"""Residual networks for small images, of torchvision's blocks.

The first layer is a 3 × 3 convolution of stride 1 without pooling after it, as usual for images of 32 × 32 pixels:
torchvision's own takes a sixteenth of the pixels, which suits 224 × 224.
"""

from torch import Tensor, nn
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
