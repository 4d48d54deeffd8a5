"""What a model is given: raw joints, or folders of packed shards, in batches."""
