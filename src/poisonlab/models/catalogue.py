"""The catalogue of models.

A registration names the class that builds the model; its function imports the class when it is needed.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poisonlab.registry import Catalogue, Entry

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Model(Entry):
    """What is registered of a model; `builds` is the ``module:Class`` that counts for the version of what is
    trained.
    """

    builds: str


model = Catalogue("model", "poisonlab.models.catalogue", Model)


def _register(name: str, builds: str, parameters: Mapping[str, Any] | None = None, source: str = "") -> None:
    @model(name, builds=builds, parameters=parameters or {}, source=source)
    def imported() -> "Callable[..., torch.nn.Module]":
        module, _, attribute = builds.partition(":")
        return getattr(importlib.import_module(module), attribute)


NETWORKS = "poisonlab.models.networks"

_register("mlp", f"{NETWORKS}:MLP", {"width": 64, "depth": 2, "scale": 1.0}, "thesis, section 4.1")
_register(
    "deep_mlp",
    f"{NETWORKS}:MLP",
    {"width": 128, "depth": 3, "scale": 1.0},
    "thesis, section 4.1.2; the width is a choice",
)
_register("hashed_mlp", f"{NETWORKS}:HashedMLP", {"bits": 10, "modulus": 941}, "thesis, Appendix A")
_register("normalised_mlp", f"{NETWORKS}:NormalisedMLP", {"width": 64, "depth": 2}, "thesis, Appendix A")
_register(
    "soft_nn",
    "poisonlab.models.neighbours:SoftNearestNeighbours",
    {"k": 1, "nearest": 1e-3, "power": 1.0},
    "thesis, chapter 3; nearest is a choice",
)
_register(
    "logistic",
    "poisonlab.models.regularized:RegularizedLogistic",
    {"penalty": 0.01, "choose": ("given", "clean", "poisoned", "validation"), "norm": ("l2", "l1")},
    "Carnerero-Cano et al., 2021, section 3",
)
_register("pooled", f"{NETWORKS}:Pooled")
_register("strided", f"{NETWORKS}:Strided")
_register("strided_linear", f"{NETWORKS}:StridedLinear")
_register("conv_pool", f"{NETWORKS}:ConvPool")
_register("small_cnn", f"{NETWORKS}:SmallCNN")
_register(
    "transformer",
    "poisonlab.models.transformer:Transformer",
    {"patch": 7, "width": 64, "depth": 2, "heads": 4},
    "Dosovitskiy et al., 2021",
)
_register("resnet", "poisonlab.models.resnets:ResNet", {"depth": 18, "width": 64}, "He et al., 2016")
_register(
    "smooth_cnn",
    "poisonlab.models.smooth:SmoothCNN",
    source="Engstrom et al., 2025, section 3.2; the widths are a choice",
)
_register("preact_resnet", "poisonlab.models.resnets:PreActResNet", {"width": 64}, "He et al., 2016, Identity Mappings")
