"""Prompts that nothing was learned by, as a null for measures of prompts; their noise."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.files import sha256


def named_generator(name: str) -> torch.Generator:
    """A generator whose seed is a hash of a name, so that its noise is that of no run's start.

    The starts of runs have the seed of their run, or a hash of task and seed. With the seed 0 here the noise of a null
    could be the very rows that a run started from.
    """
    return torch.Generator().manual_seed(int(sha256(name.encode())[:15], 16))


def random_prompts(
    lengths: Sequence[int], width: int, scale: float, draws: int, seed: int = 0
) -> Iterator[list[Float[Tensor, "_ d"]]]:
    """Sets of prompts of independent normal noise, as the initialiser `random` makes them.

    Unlike the starts of runs, no two prompts share a seed: there, prompts of different tasks and the same seed begin with
    the same numbers.

    Args:
        lengths: the rows of each prompt of a set.
        width: d.
        scale: the standard deviation of an entry (raw).
        draws: how many sets.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield [torch.randn(length, width, generator=generator) * scale for length in lengths]
