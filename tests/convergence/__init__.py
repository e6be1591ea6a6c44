"""Random histories of a cloud within one process, watched at every step."""
