"""A real Prometheus scrapes a running demo."""

CHECKS = []
