"""The event log: one protocol and its implementations."""
