"""One adapter per peer: starts it and builds its requests."""
