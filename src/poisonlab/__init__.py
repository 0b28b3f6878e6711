"""Craft poisons, train victims at scale, attack them, and judge published claims about them."""
