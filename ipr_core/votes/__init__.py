"""Votes of a listening test: their record on disk, and the order in which clips are heard.

`record` keeps every vote of every listener, and `order` says which clip comes next. `merge` puts votes into a corpus,
`agreement` says how far they agree, `usefulness` on which clips a vote is worth most. `again` makes the corpus of the
run that follows.
"""
