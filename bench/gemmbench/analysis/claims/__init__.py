"""An article's claims, and what decides each: arithmetic, datasheets, the compiler, runs."""
