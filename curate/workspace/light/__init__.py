"""What lets a command on a large workspace read only what it touches: an index, in `.cache/light`.

The index is computed from one state of manifest.csv and its journal, and answers nothing by itself:
it says where in these two files to read. It can be removed at any time. What a row, a line or a
verdict means is in `curate.workspace`; which command uses the index is in its own room.
"""
