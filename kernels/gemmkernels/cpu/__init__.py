"""Kernels for CPUs, one rung a file."""
