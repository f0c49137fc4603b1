"""`docvault demo`: fill a running service with an example company."""
