"""A command's failure: what the user did, or what the machine lacks, in one plain line that says what to do."""


class Failure(Exception):
    """Ends the command with exit code 1; each line goes to standard error as it is."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
