"""Text tables: columns as wide as their widest cell, three blanks between them."""

from collections.abc import Sequence

GAP = "   "


def format_rows(header: Sequence[str], rows: Sequence[Sequence[str]], *, with_header: bool = True) -> str:
    """The table as text, each line ended. Nothing follows the last column."""
    lines = [list(header), *map(list, rows)] if with_header else [list(row) for row in rows]
    if not lines:
        return ""
    # The header counts even when it is not shown, so that a watch keeps its columns.
    widths = [max(len(str(line[i])) for line in [list(header), *lines]) for i in range(len(header))]
    return "".join(
        GAP.join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )


def print_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    print(format_rows(header, rows), end="")
