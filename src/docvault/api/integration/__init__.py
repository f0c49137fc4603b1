"""The integration audience."""
