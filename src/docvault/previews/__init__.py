"""Pictures of documents, rendered in a limited child process."""
