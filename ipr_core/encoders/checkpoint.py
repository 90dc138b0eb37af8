"""Checkpoints of Hugging Face: how they are read, and how a network is described without one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedConfig
from transformers.utils import logging


def from_hub(loader: Any, name: str, families: str, **options: Any) -> Any:
    """Call `loader.from_pretrained`, and raise its errors as ValueError with their cure.

    Code that comes with a checkpoint is never run.
    name: hub id or local folder   families: the supported ones, for the message
    """
    try:
        with _quiet(os.path.isdir(name)):
            return loader.from_pretrained(name, trust_remote_code=False, **options)
    except OSError as error:
        if os.path.isdir(name):
            cure = "it needs config.json and model.safetensors (pickled weights are not read: save_pretrained anew)"
            raise ValueError(f"{name} is no complete checkpoint: {_first_line(error)}; {cure}") from error
        raise ValueError(
            f"encoder {name!r} is no local folder and cannot be had from the hub: {_first_line(error)}; "
            "give a local folder, or set HF_HUB_OFFLINE=0 to download it"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{name} is no speech encoder that is known here: {_first_line(error)}; "
            f"the supported families are {families}"
        ) from error


def plain_config(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the configuration as JSON, without the name or folder that it came from."""
    values = config.to_diff_dict()
    return {key: value for key, value in values.items() if key not in ("_name_or_path", "model_type", "dtype")}


@contextmanager
def _quiet(local: bool) -> Iterator[None]:
    """Silence transformers' report of weights that are not the encoder's, and bars unless it downloads."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if local:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
