"""Every reading of the paper, as settings: each of its values."""

from typing import Literal, get_args, get_origin

from ipr_core.config import FIELDS

READINGS = [
    (name, value)
    for name, (section, field) in FIELDS.items()
    if section == "method" and (get_origin(field.annotation) is Literal or field.annotation is bool)
    for value in (get_args(field.annotation) or (False, True))
]
