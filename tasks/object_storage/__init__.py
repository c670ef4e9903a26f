"""Data in object storage: a URL in params.yaml, whose objects are copied into the workspace before they are read."""
