"""TALK: everyone who asks."""
