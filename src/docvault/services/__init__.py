"""Use cases: what a person or a system can do."""
