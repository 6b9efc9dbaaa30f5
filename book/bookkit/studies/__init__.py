"""What chapters measure beyond the experiments."""
