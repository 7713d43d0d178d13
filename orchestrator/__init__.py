"""What runs, in which order, where, and what is kept. See docs/architecture.md."""
