"""Stages: what a step does to a batch of items. One file each."""
