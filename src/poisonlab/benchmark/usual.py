"""What contestants work on: images of any size, and the package's networks as they are usually written."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab import models
from poisonlab.poisons.poison import TrainingSet

BATCH = 128
CLASSES = 10


def images_of(shape: tuple[int, ...], n: int) -> tuple[Tensor, Tensor]:
    """scikit-learn's digits at another size: n images [n, *shape] uint8, repeated as often as needed, and labels [n].

    Nothing is downloaded, and networks can learn them, so that attacks meet both easy and hard points.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = np.arange(n) % len(digits.target)
    small = torch.from_numpy(digits.images[chosen] / 16).float()[:, None]
    resized = F.interpolate(small, size=shape[1:], mode="bilinear").expand(n, *shape)
    return (resized * 255).round().to(torch.uint8).contiguous(), torch.from_numpy(digits.target[chosen])


def clean_set(shape: tuple[int, ...], n: int) -> TrainingSet:
    """The same images as a training set without poisons."""
    images, labels = images_of(shape, n)
    return TrainingSet(images.numpy(), labels.numpy(), CLASSES, np.empty(0, dtype=np.int64))


class Usual(nn.Sequential):
    """The same networks as they are usually written: ReLU before pooling, channels first."""

    def __init__(self, name: str, input_shape: tuple[int, ...]) -> None:
        ours = models.build(name, input_shape, CLASSES, 0)
        layers: list[nn.Module] = []
        stages, convolutions = ours.stages, ours.convolutions
        for stage, convolution in zip(stages, convolutions, strict=True):  # type: ignore[arg-type]
            layers += [convolution, nn.ReLU()]
            if stage.pool > 1:
                layers.append(nn.MaxPool2d(stage.pool))
        layers.append(nn.Flatten())
        for layer in ours.layers:  # type: ignore[union-attr]
            layers += [layer, nn.ReLU()]
        super().__init__(*layers[:-1])


def as_usual(model: nn.Module, name: str, shape: tuple[int, ...]) -> nn.Module:
    """The same trained network as it is usually written."""
    usual = Usual(name, shape)
    own = [p.detach() for p in model.parameters()]
    channels = [p for p in own if p.dim() == 4][-1].shape[0]
    features = next(p.shape[1] for p in own if p.dim() == 2)
    side = int((features // channels) ** 0.5)
    for mine, other in zip(own, usual.parameters(), strict=True):
        if (
            mine.dim() == 2 and mine.shape[1] == features
        ):  # here flattened in the order height, width, channels; there channels first
            mine = mine.view(-1, side, side, channels).permute(0, 3, 1, 2).flatten(1)
        other.data.copy_(mine)
    return usual.eval()
