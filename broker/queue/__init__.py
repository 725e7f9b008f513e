"""The queue: nudges through Celery, and the reconciler that makes losing any of them harmless."""
