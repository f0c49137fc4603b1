"""The customer audience."""
