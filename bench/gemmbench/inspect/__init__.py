"""What the compiler makes of a Triton kernel, on GPUs that need not be there."""
