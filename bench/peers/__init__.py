"""One adapter a peer: starts it, and knows how it is asked."""
