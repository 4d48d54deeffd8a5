"""What a step needs to be captured as a CUDA graph: memory that stays, shapes that recur."""
