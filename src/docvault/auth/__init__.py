"""Authentication: tokens, API keys and the keys derived from the deployment's secret."""
