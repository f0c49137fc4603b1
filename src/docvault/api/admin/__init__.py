"""The admin audience."""
