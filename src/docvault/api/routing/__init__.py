"""Guarded routes and the requests that endpoints receive."""
