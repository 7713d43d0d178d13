"""Executors: where a plan's tasks run. They know `Stage` and `Plan`, never a concrete stage."""
