"""The HTTP server of `bonestrap serve`: class names and probabilities of recordings that are posted to it."""
