"""The page on which a person answers the queue of a review, and the command that serves it."""
