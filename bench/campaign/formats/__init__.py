"""Files that a stranger wrote: for each format one subject, whose mutators know its structure.

A subject makes a sound file and puts hostile values into it, its lengths and digests still right; or it
changes bytes. A try reads the file, and if that goes well uses what it holds.
"""
