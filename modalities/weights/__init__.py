"""Model folders: what they hold (`description`), their tensors (`checkpoint`), and the way to objects (`loading`)."""
