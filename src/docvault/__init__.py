"""docvault: a service through which a company collects documents from its customers."""
