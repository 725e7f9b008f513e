"""Another OGC API - Processes server as a platform."""
