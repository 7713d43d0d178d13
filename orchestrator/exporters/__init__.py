"""Exporters: media to files. One function for each format, named in `orchestrator.catalog`."""
