"""DECIDE: pure. Values in, values out; no clock, file, socket, log or environment."""
