"""Rungs that are somebody else's: the vendors' libraries, by way of torch."""
