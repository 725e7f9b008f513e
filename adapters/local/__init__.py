"""Jobs on this machine, by the runner: the smallest real adapter, and the one to copy."""
