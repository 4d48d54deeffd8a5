"""How a training step is run: operation by operation, or as CUDA graphs."""
