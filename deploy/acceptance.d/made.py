"""What was made, and how it goes away again: in reverse order, whatever happens."""


class Made:
    def __init__(self, tell):
        self.things, self.left, self.tell = [], [], tell

    def add(self, label, undo):
        """Called before a thing is made: one whose making was cut short is looked for as well."""
        self.things.append((label, undo))

    def keep(self):
        return [label for label, _ in self.things]

    def undo(self):
        while self.things:
            label, undo = self.things.pop()
            self.tell(f"deleting {label}")
            try:
                undo()
            except Exception as error:  # Whatever is wrong with one, the others must go.
                if not absent(error):
                    self.left.append(f"{label} ({str(error)[:200]})")
        return self.left


def code_of(error):
    return getattr(error, "response", {}).get("Error", {}).get("Code", "")


def absent(error):
    """It is not there, so there is nothing to delete."""
    code = code_of(error)
    return "NotFound" in code or code in ("NoSuchBucket", "NoSuchEntity", "NoSuchEntityException")
