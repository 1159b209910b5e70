"""What a step is: a name, what is expected, and what was seen."""


class Skipped(Exception):
    """Cannot be shown here, and why."""


class Failed(Exception):
    """Something else was seen than what was expected."""


class Step:
    name = expected = ""

    def run(self, world):
        """What was seen."""
        raise NotImplementedError


def held(condition, seen):
    if not condition:
        raise Failed(seen)
    return seen
