"""What the official package keeps in ``daytona.handle``."""
