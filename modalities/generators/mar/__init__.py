"""MAR: masked autoregressive generation of continuous tokens (Li et al. 2024, arXiv 2406.11838)."""
