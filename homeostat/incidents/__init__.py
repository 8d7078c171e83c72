"""From failure to incident: recognition, signatures, diagnostic bundles and the life of each."""
