"""The domain of Homeostat: it decides, and never imports Celery."""
