"""What a user's own system plugs in by; the one room that may import Celery."""
