"""The OpenAPI documents and their interactive reference."""
