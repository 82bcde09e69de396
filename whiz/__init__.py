"""whiz: write down what should run, and it runs."""

__version__ = "0.1.0"

CARRY = "WHIZ_CARRY"  # the variable with the descriptor of the lock, which a whiz that renews itself hands on
