"""A victim is a pure function of its training set with the poison, its seed, its recipe, precision and device class."""
