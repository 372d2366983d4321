"""Runs written down, read back, and told to OpenTelemetry."""
