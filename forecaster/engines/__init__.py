"""Engines: the compiled calls that serve the networks, and what they keep on the way."""
