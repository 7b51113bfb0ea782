"""Connections towards the provider: dialled, kept alive, and asked one request at a time."""
