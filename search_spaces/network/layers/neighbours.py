"""Which positions are neighbours, when every position has equally many: windows are moved inwards at the borders."""

import torch


def neighbour_tiles(
    length: int, kernel: int, dilation: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Neighbourhoods along one axis, for tiles of queries that share the keys around them.

    Positions with equal remainders modulo the dilation D form D lines of L = ceil(length / D) or one fewer positions.
    Position p of a line sees its positions s, ..., s + kernel - 1, where s is p - kernel // 2, at least 0 and at most
    what keeps the last one on the line. A line is cut into T tiles of t <= kernel positions; the keys of a tile are w =
    min(t + kernel - 1, L).

    Args:
        length: of the axis, at least kernel * dilation.

    Returns:
        The positions of a tile's queries, (T, t), and keys, (T, w), on a line; and (D, T, t, w): key - query + kernel -
        1, or 2 kernel - 1 where the query does not see the key. What queries behind the end of a line see means
        nothing.
    """
    line = -(-length // dilation)
    tiles = -(-line // kernel)
    side = -(-line // tiles)
    reach = min(side + kernel - 1, line)
    first = torch.arange(tiles, device=device) * side
    queries = (first[:, None] + torch.arange(side, device=device)).clamp(max=line - 1)
    keys = (first - kernel // 2).clamp(min=0, max=line - reach)[:, None] + torch.arange(reach, device=device)
    lengths = (length - torch.arange(dilation, device=device) + dilation - 1) // dilation
    starts = torch.minimum((queries - kernel // 2).clamp(min=0), lengths[:, None, None] - kernel)
    places = keys[:, None, :] - starts[:, :, :, None]
    offsets = (keys[:, None, :] - queries[:, :, None] + kernel - 1).clamp(min=0)
    return queries, keys, torch.where((places >= 0) & (places < kernel), offsets, 2 * kernel - 1)


def pair_tiles(rows: torch.Tensor, columns: torch.Tensor, kernel: int) -> torch.Tensor:
    """The offsets of two axes, (D, T, t, w) and (D, S, u, v), as numbers of a table of 2 kernel x 2 kernel entries, by
    rows: (D D T S, t u, w v). The table's last row and column are of pairs that do not see each other."""
    # Half of the bytes of the usual integers; there are more of these numbers than of channels.
    down = (rows * (2 * kernel)).to(torch.int32)[:, None, :, None, :, None, :, None]
    across = columns.to(torch.int32)[None, :, None, :, None, :, None, :]
    return (down + across).flatten(6, 7).flatten(4, 5).flatten(0, 3)
