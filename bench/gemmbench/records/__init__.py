"""Run files: their format, how they are written and read, and the DataFrame they become."""
