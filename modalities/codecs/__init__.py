"""Codecs: media to latents and back."""
