"""What becomes of a job's results: provenance, publication, reproduction. Pure documents and clients of targets."""
