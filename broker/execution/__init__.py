"""The life of a job, one verb per file. Each function: read the row, call the outside world, decide, save."""
