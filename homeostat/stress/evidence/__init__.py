"""What was observed, read from the rows that workers wrote and from outside; no conclusions."""
