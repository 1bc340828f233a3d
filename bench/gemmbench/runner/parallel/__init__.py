"""Runs of several ranks, started by torchrun or its like: one process and one device a rank."""
