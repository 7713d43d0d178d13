"""Data that the built-in models are trained on, made from pinned packages: pictures, names, captions."""
