"""Text encoders: prompts in, `Conditioning` out. `builtin` ships with the package, `huggingface` loads any model."""
