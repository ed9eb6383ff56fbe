"""Lists of people as files: CSV reader, recognition of columns, readers of cells.

The import of subscribers, the import of opt-outs and `flask send --csv` all read through this
package.  Nothing in it knows the database.

- reader: bytes -> chunks of whole lines -> rows (`split_chunks`, `read_heading`, `RowReader`)
- columns: headers -> fields, guessed in many languages (`map_columns`, `find_phone_column`)
- cells: cell -> value of a field; raises ValueError with the reason
- permissions: columns that say who has left or does not agree
- phone_list: the cells of the phone column, with or without headers (`open_phone_list`)

Vocabulary: a chunk is some whole lines of a file; a row is one record of CSV and may go over
several lines; a header is a cell of the first row; a field is what a column is for.
"""
