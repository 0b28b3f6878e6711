"""Victims: a victim is a pure function of (initialisation seed, training set with its poison, order seed, recipe, precision, device class)."""
