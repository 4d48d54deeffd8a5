"""What is told of a run beside its own figures: how MLflow shows it, and what its machine does."""
