"""Votes of a listening test: their record on disk, and the order in which clips are heard.

`record` keeps every vote of every listener, and `order` says which clip comes next. May import `atomic`.
"""
