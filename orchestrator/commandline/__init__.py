"""The command `parhelion`: what its flags mean, and what it prints."""
