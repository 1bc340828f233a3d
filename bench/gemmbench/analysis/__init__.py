"""What records say: pooled times, speedups, the best of each precision, comparisons."""
