"""Next-DiT, the flow transformer of Lumina-Next, for one, two and three axes. Importing this costs nothing."""
