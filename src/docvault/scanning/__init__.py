"""Scanning files for malware."""
