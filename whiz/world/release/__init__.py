"""Releases outside of the core: the master's repository and keys, and what a node keeps of them."""
