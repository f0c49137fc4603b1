"""Every byte: the blob store contract and its backends."""
