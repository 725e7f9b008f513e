"""Application packages: parse, close, describe, and turn execute inputs into a job order."""
