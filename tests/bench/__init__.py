"""Measurements of `make bench`: each figure beside its peer, in one run, as a ratio."""
