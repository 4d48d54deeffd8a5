"""Published data sets in their own formats."""
