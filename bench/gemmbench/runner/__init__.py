"""Carrying out a plan: the supervisor that keeps the journal, and the worker that owns a device."""
