"""Serving HTTP: uvicorn with our own limits, and its processes."""
