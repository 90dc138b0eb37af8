"""A section of the configuration: what its fields are made of, and the marks that they may have."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Range = tuple[float, float]


class Mark(enum.Enum):
    """Properties of settings, each on its field (or its section's); `marked` lists the settings that have one."""

    AFTER_WARM_UP = "the warm-up does not depend on it: runs that differ in it alone may share one"
    SECOND_VIEWS = "the second views, and their passes through the encoder's frozen part, depend on it"
    COMPARED = "runs that differ in it alone stand in one table"


class Section(BaseModel):
    """A part of the configuration: frozen, unknown names refused, the sentence under a field its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
