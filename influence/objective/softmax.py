"""Classification with one logit a class."""

import torch
import torch.nn.functional as F
from torch import Tensor

from influence.objective.base import Objective


class SoftmaxCrossEntropy(Objective):
    """-log softmax(outputs)[target]: outputs [B, C] are logits, targets [B] are class indices."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, reduction="none")

    def check_targets(self, targets: Tensor, outputs: int) -> None:
        """Refuse all but class indices [N].

        Raises:
            ValueError: the targets are no whole numbers, not [N], or one of them is no class.
        """
        if targets.is_floating_point() or targets.dtype == torch.bool or targets.dim() != 1:
            raise ValueError(
                f"targets of SoftmaxCrossEntropy are class indices [N] of int64, not {list(targets.shape)} of "
                f"{targets.dtype}"
            )
        wrong = targets[(targets < 0) | (targets >= outputs)][:1].tolist()
        if wrong:
            raise ValueError(
                f"target {wrong[0]} is not a class: the model has {outputs} outputs, for classes 0 to {outputs - 1}"
            )

    def output_hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
        """(diag(p) - p p^T) v, without the matrix."""
        probabilities = outputs.softmax(dim=-1)
        weighted = probabilities * vectors
        return weighted - probabilities * weighted.sum(dim=-1, keepdim=True)

    def root_columns(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The Cholesky factor of diag(p) - p p^T in closed form, [C - 1, B, C]: as many columns as its rank.

        Column l weighs label l against those after it. The squares sum to the expectation over labels drawn from the
        model, of which each would take a column of its own (Tanabe & Sagae 1992).
        """
        classes = outputs.shape[-1]
        probabilities = outputs.softmax(dim=-1)
        reached = probabilities.flip(-1).cumsum(dim=-1).flip(-1)  # of label l or one after it
        after = F.pad(reached[:, 1:], (0, 1))
        lengths = (probabilities * (after / torch.where(reached > 0, reached, 1.0))).sqrt()
        shares = probabilities.unsqueeze(1) / torch.where(after > 0, after, 1.0).unsqueeze(2)
        identity = torch.eye(classes, dtype=outputs.dtype, device=outputs.device)
        columns = lengths.unsqueeze(2) * (identity - shares.triu(1))
        return columns.transpose(0, 1)[: max(1, classes - 1)]  # the last is zero

    def sampled_columns(self, outputs: Tensor, targets: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Gradients of the loss at labels drawn from the model, over sqrt(count)."""
        probabilities = outputs.softmax(dim=-1)
        drawn = torch.multinomial(probabilities, count, replacement=True, generator=generator)
        columns = probabilities.expand(count, -1, -1).clone()
        columns.scatter_add_(-1, drawn.T.unsqueeze(-1), -torch.ones_like(columns[..., :1]))
        return columns / count**0.5

    def margin(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Logit of the target less the largest other logit, [B]."""
        own, others = _split(outputs, targets)
        return own - others.max(dim=-1).values

    def log_odds(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Logit of the target less the logarithm of the summed exponentials of the others, [B]."""
        own, others = _split(outputs, targets)
        return own - others.logsumexp(dim=-1)


def _split(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The target's logit [B], and all logits with that one at minus infinity [B, C]."""
    column = targets.unsqueeze(-1)
    return outputs.gather(-1, column).squeeze(-1), outputs.scatter(-1, column, -torch.inf)
