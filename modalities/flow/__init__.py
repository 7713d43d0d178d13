"""The mathematics of flow matching: paths, samplers, schedules, guidance. No networks live here."""
