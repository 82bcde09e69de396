"""whiz: write down what should run, and it runs."""

__version__ = "0.1.0"
