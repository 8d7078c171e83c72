"""The truth: SQLAlchemy models by concept, and the functions that read and write them."""
