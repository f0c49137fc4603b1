"""HTTP: bodies, headers, problems."""
