"""Results of finished runs."""
