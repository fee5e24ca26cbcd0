"""Training and evaluation: recorded ticks in, a bundle and its accuracy out."""
