"""What people say of flagged examples: the queue they answer, their verdicts, and what follows from them."""
