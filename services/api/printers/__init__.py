"""Objects as rows of a table, with the columns people know from kubectl.

`table_for(kind)` gives the columns and a function from object to cells. Cells are data (text, numbers);
drawing the table is the business of whoever shows it.
"""

from navarch.services.api.printers.registry import table_for
from navarch.services.api.printers.table import Cell, Column, Table

__all__ = ["Cell", "Column", "Table", "table_for"]
