"""Suites: which shapes, kernels and precisions to measure, in TOML files and their reader."""
