"""Releases: what one is, whom to believe, and which one a node is to run. Pure, like all of core."""
