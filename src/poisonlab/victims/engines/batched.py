"""Networks for the `stacked` engine: one row of parameters per victim, logits and gradients of all victims at once.

Rows hold the parameters in the order of the model's state. Inputs are [victims, points, …], logits [victims, points,
classes].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab.models.networks import MLP, ConvolutionalNet


class Batched(Protocol):
    """What the engine needs of a family of networks."""

    def logits(self, rows: Tensor, inputs: Tensor) -> Tensor:
        """Logits of every victim on its own inputs."""
        ...

    def gradient(self, rows: Tensor, inputs: Tensor, labels: Tensor, out: Tensor) -> Tensor:
        """Write the gradient of every victim's mean cross-entropy into `out` (as the rows) and return the logits in
        float32.
        """
        ...


def of(model: nn.Module) -> "Batched | None":
    """A model for many victims at once; None where there is no such code."""
    if isinstance(model, MLP):
        return FullyConnected(model)
    if isinstance(model, ConvolutionalNet):
        return Convolutional(model)
    return None


@dataclass(frozen=True)
class _Piece:
    """Where a layer's weights and bias stand in a row: weights as [out, in], `in` in the order of the weight tensor's
    own axes.
    """

    outputs: int
    inputs: int
    start: int

    @property
    def bias_start(self) -> int:
        return self.start + self.outputs * self.inputs

    def weight(self, rows: Tensor) -> Tensor:
        """Views [victims, out, in] of rows [victims, parameters]."""
        return rows[:, self.start : self.bias_start].view(len(rows), self.outputs, self.inputs)

    def bias(self, rows: Tensor) -> Tensor:
        """Views [victims, 1, out] of rows [victims, parameters]."""
        return rows[:, None, self.bias_start : self.bias_start + self.outputs]


def _pieces(layers: Sequence[nn.Module]) -> Iterator[_Piece]:
    start = 0
    for layer in layers:
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)
        yield _Piece(weight.shape[0], weight[0].numel(), start)
        start += weight.numel() + bias.numel()


def _linear(piece: _Piece, rows: Tensor, inputs: Tensor) -> Tensor:
    return torch.baddbmm(piece.bias(rows), inputs, piece.weight(rows).transpose(1, 2))


class FullyConnected:
    """ReLU networks with the backward pass written out: automatic differentiation costs more than the arithmetic of
    such small nets.
    """

    def __init__(self, model: MLP) -> None:
        self.encode, self.pieces = model.encode, list(_pieces(list(model.layers)))

    def _maps(self, rows: Tensor, inputs: Tensor) -> list[Tensor]:
        """Inputs of every layer, and the logits."""
        maps = [self.encode(inputs.flatten(2))]
        for piece in self.pieces[:-1]:
            maps.append(_linear(piece, rows, maps[-1]).clamp_min_(0))
        return [*maps, _linear(self.pieces[-1], rows, maps[-1])]

    def logits(self, rows: Tensor, inputs: Tensor) -> Tensor:
        return self._maps(rows, inputs)[-1]

    def gradient(self, rows: Tensor, inputs: Tensor, labels: Tensor, out: Tensor) -> Tensor:
        *maps, outputs = self._maps(rows, inputs)
        logits = outputs.float()
        # Gradient of the mean cross-entropy with respect to the logits: (softmax − one-hot) / points.
        slope = logits.softmax(2)
        slope.scatter_add_(2, labels[..., None], torch.full_like(slope[..., :1], -1))
        slope = slope.div_(labels.shape[1]).to(rows.dtype)
        for position in reversed(range(len(self.pieces))):
            piece = self.pieces[position]
            piece.weight(out).copy_(slope.transpose(1, 2) @ maps[position])
            piece.bias(out).copy_(slope.sum(1, keepdim=True))
            if position:
                # ReLU's own backward pass: one sweep over memory where a comparison and a product are three.
                slope = torch.ops.aten.threshold_backward(slope @ piece.weight(rows), maps[position], 0)
        return logits


class Convolutional:
    """Convolutions as batched products of image patches and weights, with automatic differentiation: for a GPU."""

    def __init__(self, model: ConvolutionalNet) -> None:
        self.stages = model.stages
        pieces = list(_pieces([*model.convolutions, *model.layers]))
        self.convolutions, self.layers = pieces[: len(self.stages)], pieces[len(self.stages) :]

    def logits(self, rows: Tensor, inputs: Tensor) -> Tensor:
        victims, points = inputs.shape[:2]
        maps = inputs.flatten(0, 1)
        for stage, piece in zip(self.stages, self.convolutions, strict=True):
            height, width = (stage.side(side, pooled=False) for side in maps.shape[2:])
            patches = F.unfold(maps, stage.kernel, padding=stage.padding, stride=stage.stride)
            # [victims · points, patch, places] → [victims, points · places, patch], the shape of a linear layer's
            # inputs
            patches = patches.view(victims, points, *patches.shape[1:]).transpose(2, 3).flatten(1, 2)
            maps = _linear(piece, rows, patches).view(victims * points, height, width, -1).permute(0, 3, 1, 2)
            maps = F.relu(F.max_pool2d(maps, stage.pool) if stage.pool > 1 else maps)
        features = maps.permute(0, 2, 3, 1).reshape(victims, points, -1)
        for piece in self.layers[:-1]:
            features = F.relu(_linear(piece, rows, features))
        return _linear(self.layers[-1], rows, features)

    def gradient(self, rows: Tensor, inputs: Tensor, labels: Tensor, out: Tensor) -> Tensor:
        rows = rows.detach().requires_grad_()
        logits = self.logits(rows, inputs).float()
        # The victims share no parameter, so that the gradient of the sum of their losses is each one's own.
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / labels.shape[1]
        out.copy_(torch.autograd.grad(loss, rows)[0])
        return logits.detach()
