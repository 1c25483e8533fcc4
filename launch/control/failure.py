"""What the user can do something about."""


class Failure(Exception):
    """Printed as one line (or a few), without a traceback."""
