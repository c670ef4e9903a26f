"""What `influence trust` prints."""

from rich.console import Console

from flows.trust import print_trust

FOUND = {
    "verdict": "Scores rank 10 random halves [as] predicted.",
    "warnings": ["few subsets"],
    "queries": 12,
    "method": "retraining on random halves",
    "scores": {
        "influence": {"value": 0.48, "low": 0.41, "high": 0.53},
        "gradient_product": {"value": 0.16, "low": 0.1, "high": 0.22},
        "similarity": {"value": 0.21, "low": 0.12, "high": 0.3},
    },
    "above": {
        "gradient_product": {"value": 0.32, "low": 0.25, "high": 0.38},
        "similarity": {"value": 0.27, "low": 0.2, "high": 0.34},
    },
    "ceiling": {"value": 0.62, "low": 0.55, "high": 0.69},
    "solver": {"converged": 11, "largest_residual": 0.3, "median_residual": 0.08, "damping": 0.002},
}


def printed(found: dict[str, object]) -> str:
    console = Console(width=160, record=True)
    print_trust(found, console)
    return console.export_text()


def test_the_verdict_comes_with_its_ground() -> None:
    text = printed(FOUND)
    assert "Scores rank 10 random halves [as] predicted." in text and "Warning: few subsets." in text
    assert "11 of 12 queries solved" in text
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if line.startswith("│")}
    assert "0.41 to 0.53" in rows["Influence (the scores of this run)"]
    assert "0.25 to 0.38" in rows["Gradient product"] and "0.62" in rows["Ceiling: retraining against itself"]


def test_a_run_that_measured_nothing_says_so() -> None:
    text = printed({**{key: FOUND[key] for key in ("warnings", "queries", "solver")}, "verdict": "Not measured."})
    assert "Not measured." in text and "│" not in text
