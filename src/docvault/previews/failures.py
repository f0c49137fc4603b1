"""Why `child` could not render a file, other than that it is broken."""


class OverLimitError(Exception):
    """The picture does not fit into the memory of the child."""


class NoSuchPageError(Exception):
    """The file is intact and has fewer pages."""
