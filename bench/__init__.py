"""Measures docvault against its peers: `make bench`; see `docs/benchmarks.md`."""
