import torch

from influence.retraining.secants import MEMORY, Secants, Seen
from influence.vectors import Vectors, add_scaled, norm, select

SIZE = 12


def iterations(rank: int, steps: int, copies: int = 3) -> tuple[Vectors, Secants]:
    """Where minimising 1/2 x^T (I + U U^T) x from ones comes to in so many steps, with I taken for the Hessian."""
    generator = torch.Generator().manual_seed(rank)
    tall = torch.randn(copies, SIZE, rank, generator=generator, dtype=torch.float64)
    hessian = torch.eye(SIZE, dtype=torch.float64) + tall @ tall.mT

    def slope(at: Vectors) -> Vectors:
        return {"x": (hessian @ at["x"].unsqueeze(-1)).squeeze(-1)}

    at, secants = {"x": torch.ones(copies, SIZE, dtype=torch.float64)}, Secants()
    for _ in range(steps):
        step = slope(at)  # H is I
        moved = {"x": -secants.improved(step)["x"]}
        change = slope(moved)
        secants.add(Seen(moved, change, change))
        at = add_scaled(at, 1.0, moved)
    return at, secants


def test_a_hessian_that_differs_in_few_directions_is_learnt_in_as_many_steps() -> None:
    for rank in (1, 2, 4):
        assert float(norm(iterations(rank, rank + 2)[0]).max()) < 1e-8
        assert float(norm(iterations(rank, rank)[0]).min()) > 1e-3


def test_without_anything_learnt_the_step_is_the_chord() -> None:
    step = {"x": torch.randn(2, SIZE)}
    assert torch.equal(Secants().improved(step)["x"], step["x"])


def test_each_iteration_learns_alone_and_the_oldest_move_is_forgotten() -> None:
    step = {"x": torch.linspace(-1, 1, 3 * SIZE, dtype=torch.float64).view(3, SIZE)}
    _, all_three = iterations(4, MEMORY + 3)
    _, chosen = iterations(4, MEMORY + 3)
    chosen.select(torch.tensor([2]))
    alone = chosen.improved(select(step, [2]))
    torch.testing.assert_close(alone["x"][0], all_three.improved(step)["x"][2])
    assert len(all_three._seen) == MEMORY


def test_moves_seen_twice_do_no_harm() -> None:
    _, secants = iterations(2, 1)
    step = {"x": torch.ones(3, SIZE, dtype=torch.float64)}
    once = secants.improved(step)["x"]
    secants.add(secants._seen[0])
    torch.testing.assert_close(secants.improved(step)["x"], once)
