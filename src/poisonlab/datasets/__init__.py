"""Data sets: embedded, torchvision's, your own files and toy Gaussians; subsets of classes.

The Snakefile reads the catalogue each time it is parsed, in every job. What is slow to import (torch, scikit-learn, pandas) is therefore
imported by the functions that need it.
"""

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.fetch import CONNECTION_TIMEOUT, UNPACKED_MD5, fetch
from poisonlab.datasets.own import IMAGE_SUFFIXES
from poisonlab.datasets.prepare import prepare
from poisonlab.datasets.sources import SOURCES, class_counts, class_names, options_of, validate_specification

__all__ = [
    "CONNECTION_TIMEOUT",
    "IMAGE_SUFFIXES",
    "SOURCES",
    "UNPACKED_MD5",
    "Dataset",
    "class_counts",
    "class_names",
    "fetch",
    "options_of",
    "prepare",
    "validate_specification",
]
