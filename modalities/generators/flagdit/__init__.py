"""Flag-DiT for one axis: the transformer of the released Lumina audio and music models, Next-DiT's predecessor."""
