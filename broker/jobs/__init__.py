"""The life of a job as pure values and decisions: no I/O, no framework."""
