"""What goes wrong with recordings and shards because of the files, not because of the program."""

from __future__ import annotations


class DataError(ValueError):
    """A recording or a shard folder cannot be used. The message is one sentence: the file, the fault, the remedy."""
