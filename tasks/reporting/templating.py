"""The jinja2 environment of every page: what comes from the data is escaped, and a name without a value is an error."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from tasks.reporting import formatting

FILTERS = ("count", "percent", "number", "signed", "scaled", "nats", "points", "visible", "name")


@cache
def environment(package: str) -> Environment:
    """With the templates of a package's folder `templates`, and the filters of `tasks.reporting.formatting`."""
    found = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in FILTERS:
        found.filters[name] = getattr(formatting, name)
    return found


def source(package: str, name: str) -> str:
    """A file of that folder as it stands; none of them holds anything from the data."""
    loader = environment(package).loader
    assert loader is not None
    return loader.get_source(environment(package), name)[0]
