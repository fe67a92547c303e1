"""Text tables: columns as wide as their widest cell, three blanks between them."""

from collections.abc import Sequence

GAP = "   "


class Columns:
    """Lays rows out. Widths only grow, so that rows that come later stand below those that came before."""

    def __init__(self) -> None:
        self._widths: list[int] = []

    def format(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, with_header: bool = True) -> str:
        """The rows as text, each line ended. Nothing follows the last column."""
        measured = [header, *rows]
        self._widths = [
            max([self._widths[i] if i < len(self._widths) else 0, *(len(line[i]) for line in measured)])
            for i in range(len(header))
        ]
        return "".join(map(self._line, measured if with_header else rows))

    def _line(self, cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True))
        return GAP.join(padded).rstrip() + "\n"


def format_rows(header: Sequence[str], rows: Sequence[Sequence[str]], *, with_header: bool = True) -> str:
    """One table as text."""
    return Columns().format(header, rows, with_header=with_header)


def print_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    print(format_rows(header, rows), end="")
