"""Training of models, and the evidence without which none is promoted."""
