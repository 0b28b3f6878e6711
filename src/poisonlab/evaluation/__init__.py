"""What victims decide: under attack, around their poisons, on a plane."""
