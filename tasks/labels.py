"""Which labels there are, and whether every example has one of them."""

import re
from collections.abc import Sequence

from tasks.errors import UserError
from tasks.sources.examples import Examples

SHOWN = 20  # classes listed in a message


def resolve_classes(allowed: Sequence[str] | None, examples: Examples) -> list[str]:
    """The classes in order: those that params.yaml allows, else those the source knows, else those found.

    Raises:
        UserError: there are fewer than two, or one is named twice.
    """
    classes = list(allowed or examples.classes or _sorted(set(examples.labels)))
    if len(classes) < 2:
        raise UserError(f"all examples have the label {classes[0]!r}: at least two classes are needed")
    for name in classes:
        if classes.count(name) > 1:
            raise UserError(f"the class {name!r} is named twice: give every class a name of its own")
    return classes


def require_known(examples: Examples, classes: list[str]) -> None:
    """Raises UserError: an example's label is not among the classes."""
    known = set(classes)
    for row, label in enumerate(examples.labels):
        if label not in known:
            listed = ", ".join(classes[:SHOWN]) + (", ..." if len(classes) > SHOWN else "")
            raise UserError(
                f"unknown label {label!r} in {examples.origin(row)}: correct it or add it to "
                f"`prepare.classes`; the classes are {listed}"
            )


def require_present(training: Examples, classes: list[str]) -> None:
    """Raises UserError: a class has no training example."""
    found = set(training.labels)
    for name in classes:
        if name not in found:
            raise UserError(
                f"empty class: no training example has the label {name!r}; add some, take the class out, "
                "or leave more examples to the training split"
            )


def _sorted(labels: set[str]) -> list[str]:
    """In alphabetical order; integers in order of size."""
    if all(re.fullmatch(r"-?[0-9]{1,18}", label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)
