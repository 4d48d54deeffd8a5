"""What pose software writes: persons in frames, keypoints of each."""
