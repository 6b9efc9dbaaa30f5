"""How fast the training is, beside what a user would pick instead, measured in turns on this machine."""
