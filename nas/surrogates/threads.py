"""Small matrices and many cores."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Let BLAS use one thread meanwhile.

    The matrices of a surrogate are small and the workers need the other cores: with more threads than idle cores an ask
    took ten times as long.
    """
    limit: AbstractContextManager[object] = _controller().limit(limits=1)
    return limit
