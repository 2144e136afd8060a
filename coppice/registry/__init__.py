"""The registry: one protocol and its implementations."""
