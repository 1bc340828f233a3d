"""Clocks, turns, stopping, statistics: how a time is taken, and what can be said of it."""
