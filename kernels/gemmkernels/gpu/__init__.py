"""Kernels for GPUs, one rung a file."""
