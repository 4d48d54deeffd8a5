"""Ray Train without what only delays a run's first step."""
