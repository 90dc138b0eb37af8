"""A section of the configuration: what its fields are made of, and the marks that they may have."""

from __future__ import annotations

import enum
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class Words(str):
    """The values of a field in words, on a field whose type does not tell them."""


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1_000_000)]
NotNegative = Annotated[float, Field(ge=0, le=1_000_000)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1), Words("a whole number between 0 and 2**63 - 1")]
Range = tuple[Annotated[float, Field(ge=-100, le=100)], Annotated[float, Field(ge=-100, le=100)]]
Text = Annotated[
    str,
    Field(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"),
    Words("a text of one line, not empty"),
]
TomlFile = Annotated[
    str, Field(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+\.toml$"), Words("the path of a .toml file")
]
Device = Annotated[
    str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$"), Words("one of 'auto', 'cpu', 'cuda', 'cuda:N', 'mps'")
]


class Mark(enum.Enum):
    """Properties of settings, each on its field (or its section's); `marked` lists the settings that have one."""

    AFTER_WARM_UP = "the warm-up does not depend on it: runs that differ in it alone may share one"
    SECOND_VIEWS = "the second views, and their passes through the encoder's frozen part, depend on it"
    COMPARED = "runs that differ in it alone stand in one table"


class Section(BaseModel):
    """A part of the configuration: frozen, unknown names refused, the sentence under a field its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a truth value for a number, and a number for a truth value, which pydantic would convert."""
        annotation: Any = cls.model_fields[str(info.field_name)].annotation
        kinds = _kinds(annotation)
        for part in value if isinstance(value, list | tuple) else [value]:
            is_number = isinstance(part, int | float) and not isinstance(part, bool)
            if (isinstance(part, bool) and kinds & {int, float}) or (is_number and bool in kinds):
                raise ValueError  # without a word: the sentence on the field has them all
        return value

    @field_validator("*")
    @classmethod
    def _plain_zero(cls, value: Any) -> Any:
        """Make -0.0 to 0.0: equal settings have one name."""
        return 0.0 if isinstance(value, float) and value == 0 else value


@cache
def _kinds(annotation: Any) -> frozenset[Any]:
    """Return the types that an annotation is made of."""
    inner = get_args(annotation)
    return frozenset[Any]().union(*map(_kinds, inner)) if inner else frozenset({annotation})
