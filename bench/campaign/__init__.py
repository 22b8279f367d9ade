"""The campaign: hostile files, kills, interrupts, failing disks and memory, threads, forks, random networks.

``python bench/campaign --minutes 30`` (``make campaign``) tries for that long and prints what was tried and
what failed; what failed is kept in ``build/campaign/kept``, and ``--tests`` turns it into tests.

From the bottom up: ``isolation`` (one try in a child process with limits), ``subjects`` (what a subject is,
and the list of all), ``hostile`` (values that a stranger would write), ``nets`` (random networks),
``formats`` (one file a format), one file for each other subject, ``kept`` (failures, and how they become
tests), ``ledger`` (the table, and the file it goes on from), ``turns`` (the order of tries), ``__main__``.
"""
