"""The devices of a fleet against each other: which of them is slow, hot, wrong or missing."""
