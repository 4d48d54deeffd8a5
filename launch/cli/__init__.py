"""Command lines made from dataclasses; see `launch.cli.parser`."""

from launch.cli.changes import Changes
from launch.cli.parser import start, start_choice

__all__ = ["Changes", "start", "start_choice"]
