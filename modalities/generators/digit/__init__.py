"""DiGIT: images as discrete tokens of a discriminative tokenizer, then as codes of a VQ codec."""
