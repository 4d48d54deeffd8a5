"""Load and malformed requests for `bonestrap serve`."""
