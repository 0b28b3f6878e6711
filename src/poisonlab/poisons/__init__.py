"""A poison is edits to a training set; strategies choose them."""
