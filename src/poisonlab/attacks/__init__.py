"""Attacks, and adversarial paths, on one engine."""
