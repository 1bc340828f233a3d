"""Suites of several ranks: sizes of messages, and linear layers that are split."""
