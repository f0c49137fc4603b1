"""Decisions without I/O beyond the bytes they are given."""
