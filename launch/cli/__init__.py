"""Command lines made from dataclasses; see `launch.cli.parser`."""

from launch.cli.parser import start, start_choice
from launch.cli.parser.changes import Changes

__all__ = ["Changes", "start", "start_choice"]
