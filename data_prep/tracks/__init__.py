"""Detect objects, and track their boxes over time."""
