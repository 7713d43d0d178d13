"""What trains the built-in weights and a user's own: corpora, tasks, objectives, and the loop."""
