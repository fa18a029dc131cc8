"""Classes by module."""
