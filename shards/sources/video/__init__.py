"""Keypoints from video files: decoding, person detection, pose estimation, tracking."""
