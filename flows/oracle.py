"""A simulated review: an oracle answers the queue by the truth, and the pipeline runs again, round after round."""

from pathlib import Path

from flows import settings


def run_oracle(root: Path, rounds: int) -> None:
    """Run the pipeline, let the oracle answer, run it again, and so on; write reviews/oracle.{csv,svg,png}.

    Args:
        root: the workspace.
        rounds: of answers, each with a run after it.

    Raises:
        UserError: no error was planted, there are verdicts already, or a stage failed.
    """
    settings.configure(root)
    settings.configure_terminal()
    from flows import checks
    from flows.launch import launch
    from tasks.objects import add_import_paths
    from tasks.parameters import load_parameters
    from tasks.reviews.oracle import Review, require_fresh
    from tasks.workspace import Workspace

    workspace = Workspace(root)
    checks.check(root)
    require_fresh(workspace)
    launch(root)
    require_fresh(workspace)  # the truth is that of this run
    add_import_paths(root)
    review = Review.begin(workspace, load_parameters(workspace.parameters))
    print(f"oracle: {review.points[-1].describe()}", flush=True)
    for _ in range(rounds):
        if not review.answer(workspace):
            print("oracle: no question is open any more", flush=True)
            break
        launch(root)
        print(f"oracle: {review.record(workspace).describe()}; {review.answers[-1]:,} answers", flush=True)
    for point in review.write(workspace):
        print(f"oracle: {point.describe()}", flush=True)
    print(workspace.oracle_table)
