from tasks.reporting.figures import SPARK_HEIGHT, SPARK_MARGIN, SPARK_WIDTH, sparkline


def test_a_sparkline_runs_from_edge_to_edge_and_leaves_out_what_is_missing() -> None:
    points = sparkline([0.0, None, 0.2], top=0.2)
    assert points == [(SPARK_MARGIN, SPARK_HEIGHT - SPARK_MARGIN), (SPARK_WIDTH - SPARK_MARGIN, SPARK_MARGIN)]


def test_a_sparkline_of_one_run_or_of_nothing_but_zero_is_drawn() -> None:
    assert sparkline([0.5], top=1.0) == [(SPARK_MARGIN, SPARK_HEIGHT / 2)]
    assert sparkline([0.0, 0.0], top=0.0)[1] == (SPARK_WIDTH - SPARK_MARGIN, SPARK_HEIGHT - SPARK_MARGIN)
