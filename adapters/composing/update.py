"""A module's update as it will be written: as given factors, or cut to a rank by its singular values.

Shapes: A [r, in], B [out, r]. Singular values are computed in float64, what is written is float32. Their vectors are
signed so that the largest entry of each column of U is positive; where the rank exceeds the numerical rank, A has
rows and B columns of zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.linalg import eigh

from adapters.folders.folder import Factors

_TOLD_APART = torch.finfo(torch.float32).eps  # of the largest singular value: what is below it is no part of the rank


@dataclass(frozen=True)
class Update:
    """ΔW = B A, its squared Frobenius norm, and that of what was cut off."""

    factors: Factors
    squared: float
    lost: float = 0.0

    @property
    def truncation(self) -> float:
        """The relative error that cutting made, in the Frobenius norm."""
        return relative(self.lost, self.squared)


def relative(lost: float, squared: float) -> float:
    """The norm of what was cut off beside that of the whole, from their squares."""
    return (lost / (lost + squared)) ** 0.5 if lost else 0.0


def of_factors(a: torch.Tensor, b: torch.Tensor) -> Update:
    """B A as it is."""
    wide_a, wide_b = a.double(), b.double()
    squared = float(((wide_a @ wide_a.T) * (wide_b.T @ wide_b)).sum())
    return Update(Factors(a.contiguous(), b.contiguous(), 1.0), max(squared, 0.0))


def of_dense(x: torch.Tensor) -> Update:
    """A matrix as it is, of rank min(out, in): beside a unit matrix."""
    unit = torch.eye(min(x.shape))
    a, b = (x, unit) if len(unit) == len(x) else (unit, x)
    return Update(Factors(a.contiguous(), b.contiguous(), 1.0), float(x.double().square().sum()))


def nothing(fan_out: int, fan_in: int) -> Update:
    """No change, of rank 1: a module without matrices would make the folder no plain LoRA."""
    return Update(Factors(torch.zeros(1, fan_in), torch.zeros(fan_out, 1), 1.0), 0.0)


def cut(a: torch.Tensor, b: torch.Tensor, rank: int) -> Update:
    """The best approximation of B A of that rank in the Frobenius norm, without the dense product.

    With B = Q_B R_B and Aᵀ = Q_A R_A it comes from the small R_B R_Aᵀ.
    """
    q_b, r_b = torch.linalg.qr(b.double())
    q_a, r_a = torch.linalg.qr(a.double().T)
    u, s, vt = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    lost = float(s[rank:].square().sum())
    return _cut(q_b @ u[:, :rank], s[:rank], vt[:rank] @ q_a.T, rank, lost)


def cut_dense(x: torch.Tensor, rank: int) -> Update:
    """The best approximation of a matrix of that rank in the Frobenius norm, for a rank below its sides.

    Its first singular vectors are eigenvectors of XᵀX, or of XXᵀ where that is smaller: only those that are asked for
    are computed.
    """
    tall = x.double() if x.shape[0] >= x.shape[1] else x.double().T
    last = tall.shape[1] - 1
    _, found = eigh((tall.T @ tall).numpy(), subset_by_index=[last - rank + 1, last])
    v = torch.from_numpy(found).flip(1)
    product = tall @ v
    s = product.norm(dim=0)
    u = product / s.where(s > 0, 1.0)
    lost = float(tall.square().sum() - s.square().sum())
    left, right = (u, v) if x.shape[0] >= x.shape[1] else (v, u)
    return _cut(left, s, right.T, rank, max(lost, 0.0))


def _cut(u: torch.Tensor, s: torch.Tensor, vt: torch.Tensor, rank: int, lost: float) -> Update:
    """From the first singular values and their vectors; √σ goes to both sides."""
    s = s.where(s > s[:1] * _TOLD_APART, 0.0)
    largest = u.gather(0, u.abs().argmax(0, keepdim=True))
    root = s.sqrt() * torch.where(largest[0] < 0, -1.0, 1.0)
    a, b = torch.zeros(rank, vt.shape[1]), torch.zeros(len(u), rank)
    a[: len(s)], b[:, : len(s)] = root[:, None] * vt, u * root
    return Update(Factors(a, b, 1.0), float(s.square().sum()), lost)
