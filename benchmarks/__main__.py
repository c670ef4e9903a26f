"""`python -m benchmarks NAME [options]`."""

import typer

from benchmarks import frozen, retraining, solvers
from benchmarks.detection import command as detection
from benchmarks.fidelity import command as fidelity
from benchmarks.fidelity import variants
from benchmarks.soak import command as soak
from benchmarks.speed import command as speed

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
app.command("detection")(detection.main)
app.command("fidelity")(fidelity.main)
app.command("frozen")(frozen.main)
app.command("retraining")(retraining.main)
app.command("soak")(soak.main)
app.command("solvers")(solvers.main)
app.command("speed")(speed.main)
app.command("variants")(variants.main)
app.callback()(lambda: None)  # so that a single benchmark, too, is called by its name

if __name__ == "__main__":
    app()
