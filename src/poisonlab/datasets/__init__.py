"""Data sets: embedded, torchvision's, your own files and toy Gaussians; subsets of classes.

The Snakefile reads the catalogue, `sources`, each time it is parsed, in every job. What is slow to import (torch,
scikit-learn, pandas) is therefore imported by the functions that need it. Nothing is imported here: what trains victims
would depend on how files are fetched.
"""
