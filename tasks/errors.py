"""Errors a user can mend."""


class UserError(Exception):
    """Bad input: one sentence that says what is wrong, where, and how to mend it. Shown without a traceback."""
