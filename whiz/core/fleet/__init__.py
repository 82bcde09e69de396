"""The fleet: which hosts there are, whom a command means, and what came of it."""
