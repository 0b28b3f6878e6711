"""A poison: edits to a training set, never a copy of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError


def _no_indices() -> np.ndarray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Poison:
    """Edits to a training set of n points.

    Attributes:
        num_classes: number of classes afterwards; a poison may introduce a new one.
        relabel_index: [m] int64, positions in the training set, unique.
        relabel_label: [m] int64, their new labels, 0 … num_classes − 1.
        replace_index: [k] int64, positions that get another image and label, unique and disjoint from `relabel_index`.
        replace_images: [k, …] as the training images; replace_labels: [k] int64.
        append_images: [a, …] as the training images; append_labels: [a] int64.
        drop_index: [l] int64, positions that are left out, unique and disjoint from the others.
        facts: what crafting came to, name → number: a learned λ, the attacker's objective.
    """

    num_classes: int
    relabel_index: np.ndarray = field(default_factory=_no_indices)
    relabel_label: np.ndarray = field(default_factory=_no_indices)
    replace_index: np.ndarray = field(default_factory=_no_indices)
    replace_images: np.ndarray | None = None
    replace_labels: np.ndarray = field(default_factory=_no_indices)
    append_images: np.ndarray | None = None
    append_labels: np.ndarray = field(default_factory=_no_indices)
    drop_index: np.ndarray = field(default_factory=_no_indices)
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def budget(self) -> int:
        """Number of edits."""
        edits = (self.relabel_index, self.replace_index, self.append_labels, self.drop_index)
        return sum(map(len, edits))

    def validate(self, dataset: Dataset) -> None:
        """Check the poison against its training set.

        Raises:
            InputError: an index or a label is no whole number, an index is out of range or repeated, a label is illegal
                or equals the truth, an image leaves the box, or there are fewer classes than before.
        """
        for name in [name for name in EDITS if not name.endswith("_images")]:
            if (found := getattr(self, name).dtype).kind not in "iu":
                raise InputError(
                    f"poison's {name} is {found}, allowed are whole numbers; convert with .astype(np.int64)"
                )
        if self.num_classes < dataset.num_classes:
            raise InputError(
                f"poison leaves {self.num_classes} classes, '{dataset.name}' has {dataset.num_classes}; a poison may "
                "only add classes"
            )
        n = len(dataset.train_labels)
        edited = np.concatenate([self.relabel_index, self.replace_index, self.drop_index])
        outside = edited[(edited < 0) | (edited >= n)]
        if len(outside):
            raise InputError(
                f"poison edits position {outside[0]} of '{dataset.name}', allowed are 0 … {n - 1}; choose one of these"
            )
        if len(np.unique(edited)) != len(edited):
            raise InputError(f"poison of '{dataset.name}' edits a position twice; every index may occur once")
        if len(self.drop_index) == n > 0:
            raise InputError(f"poison leaves out all {n} points of '{dataset.name}'; leave some in")
        for name, index, labels, images in (
            ("relabel", self.relabel_index, self.relabel_label, None),
            ("replace", self.replace_index, self.replace_labels, self.replace_images),
            ("append", self.append_labels, self.append_labels, self.append_images),
        ):
            if len(index) != len(labels):
                raise InputError(
                    f"poison has {len(index)} {name} positions and {len(labels)} labels; give one label each"
                )
            illegal = labels[(labels < 0) | (labels >= self.num_classes)]
            if len(illegal):
                raise InputError(
                    f"poison label {illegal[0]} is not in 0 … {self.num_classes - 1}; choose one of these or raise "
                    "num_classes"
                )
            if images is not None:
                self._validate_images(name, images, len(labels), dataset)
            elif name != "relabel" and len(labels):
                raise InputError(f"poison has {len(labels)} {name} labels and no images; give one image each")
        if np.any(dataset.train_labels[self.relabel_index] == self.relabel_label):
            raise InputError(f"poison of '{dataset.name}' relabels a point to its own label; choose another class")

    @staticmethod
    def _validate_images(name: str, images: np.ndarray, count: int, dataset: Dataset) -> None:
        expected = (count, *dataset.train_images.shape[1:])
        if images.shape != expected or images.dtype != dataset.train_images.dtype:
            raise InputError(
                f"poison {name} images are {images.shape} {images.dtype}, '{dataset.name}' needs {expected} "
                f"{dataset.train_images.dtype}"
            )
        if images.dtype != np.uint8:
            if not np.isfinite(images).all():
                raise InputError(f"poison {name} images hold NaN or infinity; allowed are finite values")
            if dataset.box and len(images) and (images.min() < dataset.box[0] or images.max() > dataset.box[1]):
                raise InputError(
                    f"poison {name} images span {images.min():g} … {images.max():g}, allowed is {dataset.box}; clip "
                    "them to the box"
                )
        if dataset.free is not None:
            # A value that no training point has in such a feature is a category that does not exist.
            kept, made = dataset.train_images[:, ~dataset.free], images[:, ~dataset.free]
            if not all(np.isin(own, known).all() for own, known in zip(made.T, kept.T, strict=True)):
                raise InputError(
                    f"poison {name} images move features of '{dataset.name}' that attacks leave out; take a strategy "
                    "that relabels points, or drop these columns"
                )


EDITS = (
    "relabel_index",
    "relabel_label",
    "replace_index",
    "replace_images",
    "replace_labels",
    "append_images",
    "append_labels",
    "drop_index",
)


def merge(poisons: Sequence[Poison]) -> Poison:
    """Return the poison with the edits of all of them, in their order; of facts of one name the last counts."""

    def joined(name: str) -> np.ndarray | None:
        arrays = [array for poison in poisons if (array := getattr(poison, name)) is not None]
        return np.concatenate(arrays) if arrays else None

    edits = {name: joined(name) for name in EDITS}
    facts = {name: value for poison in poisons for name, value in poison.facts.items()}
    return Poison(max(poison.num_classes for poison in poisons), **edits, facts=facts)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TrainingSet:
    """What a victim is trained on.

    Attributes:
        images: [n, …] uint8 (value / 255) or float32; labels: [n] int64; num_classes: labels are 0 … num_classes − 1.
        poisoned: [m] positions of the poisons; their labels here are the poison's.
        validation: images and labels of the trusted points that were kept apart; None without any.
    """

    images: np.ndarray
    labels: np.ndarray
    num_classes: int
    poisoned: np.ndarray
    validation: tuple[np.ndarray, np.ndarray] | None = None


def apply(poison: Poison, dataset: Dataset) -> TrainingSet:
    """Return the training set of `dataset` with the edits of `poison`; images are shared unless the poison changes
    some.
    """
    poison.validate(dataset)
    images, labels = dataset.train_images, dataset.train_labels.copy()
    labels[poison.relabel_index] = poison.relabel_label
    if len(poison.replace_index):
        images = images.copy()
        images[poison.replace_index] = poison.replace_images
        labels[poison.replace_index] = poison.replace_labels
    appended = np.arange(len(labels), len(labels) + len(poison.append_labels))
    if poison.append_images is not None:
        images = np.concatenate([images, poison.append_images])
        labels = np.concatenate([labels, poison.append_labels])
    poisoned = np.concatenate([poison.relabel_index, poison.replace_index, appended]).astype(np.int64)
    if len(poison.drop_index):
        kept = np.ones(len(labels), dtype=bool)
        kept[poison.drop_index] = False
        images, labels, poisoned = images[kept], labels[kept], (np.cumsum(kept) - 1)[poisoned]
    held = dataset.validation_images, dataset.validation_labels
    validation = None if held[0] is None or held[1] is None else (held[0], held[1])
    return TrainingSet(images, labels, poison.num_classes, poisoned, validation)
