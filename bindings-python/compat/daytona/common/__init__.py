"""What the official package keeps in ``daytona.common``."""
