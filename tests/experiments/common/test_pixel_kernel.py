import torch

from experiments.common.pixel_kernel import kernel_features, squared_distances


def images(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, 21, 30), generator=generator, dtype=torch.uint8)


def test_distances_are_exact() -> None:
    left, right = images(4, 0), images(5, 1)
    left[0], right[0] = 0, 255
    levels = (left.flatten(1).long().unsqueeze(1) - right.flatten(1).long()).square().sum(dim=2)
    assert torch.equal(squared_distances(left, right), levels.double() / 127.5**2)
    assert squared_distances(left, left).diagonal().tolist() == [0.0] * 4
    assert float(squared_distances(left, right)[0, 0]) == 4.0 * 3 * 21 * 30


def test_inner_products_of_features_are_the_kernel() -> None:
    train, test, gamma = images(6, 2), images(3, 3), 2e-4
    inputs, queries = kernel_features(squared_distances(train, train), squared_distances(test, train), gamma)
    for left, features in ((train, inputs), (test, queries)):
        kernel = (-gamma * squared_distances(left, train)).exp()
        torch.testing.assert_close(features @ inputs.T, kernel, rtol=1e-12, atol=1e-14)
    both = torch.cat([train, test])
    whole = torch.linalg.cholesky((-gamma * squared_distances(both, both)).exp())
    torch.testing.assert_close(whole[:6], torch.cat([inputs, torch.zeros(6, 3, dtype=torch.float64)], dim=1))
    torch.testing.assert_close(whole[6:, :6], queries)
