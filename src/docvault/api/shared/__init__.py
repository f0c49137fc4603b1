"""Endpoints that several APIs share."""
