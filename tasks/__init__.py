"""What may be asked of a worker: thin functions, one file per queue or theme."""
