"""Domain objects as the API shows them."""
