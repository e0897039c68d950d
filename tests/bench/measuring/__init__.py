"""`scripts/bench`: how fast the agent is, each figure beside the floor or the peer that was measured in the same run.

    __main__.py   the command: rows one after the other, each in a process of its own; table, JSON, comparison
    figure.py     one figure, its limit, the table          machine.py   what it was measured on
    children.py   processes on the other side               device.py    a device that costs next to nothing
    the others    the rows; `rows.py` lists them

A floor is the least that the same work can cost in Python (a bare loop, bare sqlite3, lxml alone); a peer is another
program that does it. Ours and theirs take turns within a row, and the median of the turns counts, so that a machine
that is busy for a moment troubles both.
"""
