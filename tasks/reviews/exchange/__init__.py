"""The queue of a review as files for other tools, and the answers that come back: one format a file."""
