"""Runs on several devices at once: an agent at each, and a driver that keeps what they measure."""
