"""Pages about a data set, and what reports say of one."""
