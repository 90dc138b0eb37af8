"""Checkpoints of Hugging Face: how they are read, and how a network is described without one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig
from transformers.utils import logging

from ipr_core.encoders.encoder import EncoderError
from ipr_core.encoders.identity import checkpoint_folder

_WEIGHTS, _PICKLES = ("*.safetensors",), ("*.bin", "*.pt", "*.pth", "*.ckpt")
_COMPLETE = "it needs config.json and model.safetensors"
_CONVERT = "load it with transformers yourself, save_pretrained(FOLDER) as safetensors, and give that FOLDER"
_AGAIN = "download it again: take it away and set HF_HUB_OFFLINE=0"
_CODE = {
    "auto_map": "code of its own",
    "custom_pipelines": "code of its own",
    "quantization_config": "the code of a quantizer",
    "use_kernels": "kernels of the hub",
    "kernel_config": "kernels of the hub",
}
"""Key of a configuration → the code that it asks for."""
_IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
_SHIPPED = ("eager", "sdpa")
"""The implementations of attention that come with torch; any other name is code to be loaded, a hub kernel say."""


@contextmanager
def loading(name: str, families: str) -> Iterator[None]:
    """Raise the errors of loading a checkpoint as EncoderError with their cure.

    name: hub id or local folder   families: the supported ones, for the message
    """
    if os.path.isdir(name) and not os.path.isfile(os.path.join(name, "config.json")):
        raise EncoderError(f"{name} is not a complete checkpoint: there is no config.json in it; {_COMPLETE}")
    try:
        with _quiet(os.path.isdir(name)):
            yield
    except (EncoderError, MemoryError, torch.OutOfMemoryError):
        raise
    except OSError as error:
        raise EncoderError(_incomplete(name, _first_line(error))) from error
    except (SafetensorError, JSONDecodeError) as error:
        raise EncoderError(
            f"{_damaged_file(name)} cannot be read: {_first_line(error)}; it is cut off or damaged: put a copy in its "
            f"place, or {_AGAIN}"
        ) from error
    except Exception as error:  # of a configuration with any content
        if "can't allocate memory" in str(error):
            raise
        raise EncoderError(
            f"{name} is not a speech encoder that is known here: {_first_line(error)}; "
            f"the supported families are {families}"
        ) from error


def _incomplete(name: str, reason: str) -> str:
    """Return the sentence about a checkpoint of which a file is missing."""
    folder, local = checkpoint_folder(name), os.path.isdir(name)
    if folder and (pickles := _files(folder, _PICKLES)) and not _files(folder, _WEIGHTS):
        download = "" if local else "set HF_HUB_OFFLINE=0 if the hub has model.safetensors of it by now, or "
        return (
            f"encoder {name!r} has pickled weights alone ({', '.join(path.name for path in pickles)} in {folder}), "
            "which may run code and are never opened; "
            f"{download}give another encoder; or, if you trust them, {_CONVERT}"
        )
    if local:
        return f"{name} is not a complete checkpoint: {reason}; {_COMPLETE}"
    if "model.safetensors" in reason and not constants.HF_HUB_OFFLINE:
        return f"encoder {name!r} has no model.safetensors on the hub; give another encoder; or {_CONVERT}"
    return (
        f"encoder {name!r} is not a local folder and cannot be loaded from the hub: {reason}; "
        "give a local folder, or set HF_HUB_OFFLINE=0 to download it"
    )


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def _damaged_file(name: str) -> Path | str:
    """Return the first file of a checkpoint's weights that cannot be opened, or the checkpoint's name."""
    for path in _files(checkpoint_folder(name) or Path(name), _WEIGHTS):
        try:
            with safe_open(path, "pt"):
                pass
        except SafetensorError:
            return path
    return f"the index of the weights of {name}"


def check_configuration(values: Mapping[str, Any], name: str, file: str = "config.json") -> None:
    """Raise EncoderError if a configuration asks for code that does not come with this installation.

    Code that comes with a checkpoint, or that a checkpoint names, is never loaded.
    values: of the file   name: hub id or local folder, for the message
    """
    for key, value in values.items():
        if key in _CODE and value:
            _refuse(f"{file} of {name}", key, value, _CODE[key])
        if key.removeprefix("_").removesuffix("_internal") in _IMPLEMENTATIONS and value not in (None, *_SHIPPED):
            _refuse(f"{file} of {name}", key, value, "a kernel of the hub" if "/" in str(value) else "another package")
        if isinstance(value, Mapping):
            check_configuration(value, name, file)


def _refuse(source: str, key: str, value: object, code: str) -> None:
    raise EncoderError(
        f"the {source} asks for {code} ({key} is {value!r}), which is never run; "
        f"take {key} out of it, or give a checkpoint that transformers itself can run"
    )


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
    return (str(error).strip() or repr(error)).splitlines()[0]
