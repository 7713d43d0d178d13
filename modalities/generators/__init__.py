"""Generators: conditioning to latents, and the loss that trains them. One folder for each family."""
