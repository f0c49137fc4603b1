"""The PostgreSQL that comes with docvault, for trying it out."""
