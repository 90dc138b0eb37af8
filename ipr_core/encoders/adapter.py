"""LoRA (Hu et al. 2021), by peft: low-rank adapters are trained in an encoder's layers, whose own weights are kept.

Adapters lie at the projections to queries and values, the best place for a given number of weights there (section 7.1),
and their output is not scaled: a scale does what the learning rate does (section 4.1). At first they add nothing.
"""

from __future__ import annotations

import importlib.util
from typing import cast

import torch
from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.encoders.encoder import EncoderError, SpeechEncoder

_PLACES = ["q_proj", "v_proj"]  # as every family calls them
_NAME = "default"  # peft's, of an adapter that has none


def check(choice: Encoder) -> None:
    """Raise EncoderError, before a checkpoint is read, if it cannot have the adapters that a configuration wants."""
    if choice.adapter == "none":
        return
    if importlib.util.find_spec("peft") is None:
        raise EncoderError(f"adapter is '{choice.adapter}', which needs a package: pip install 'ipr-workbench[lora]'")
    if choice.encoder == "compact":
        raise EncoderError(
            f"adapter is '{choice.adapter}' and encoder is 'compact', whose own weights are random and have to be "
            "trained: set adapter to 'none', or give a pre-trained encoder"
        )
    if choice.train_features:
        raise EncoderError(
            f"adapter is '{choice.adapter}' and train_features is on; adapters lie in the layers, and all else is kept "
            "as pre-trained: turn train_features off, or set adapter to 'none'"
        )


def adapt_(encoder: SpeechEncoder, choice: Encoder) -> None:
    """Put adapters into the layers that would be trained, and keep everything else, if a configuration wants it so.

    New weights come from torch's generator. raises EncoderError if no layer is trained
    """
    if choice.adapter == "none":
        return
    layers = encoder.parts()[2:][encoder.frozen : encoder.averaged_layers[-1]]
    if not layers:
        raise EncoderError(
            f"adapter is '{choice.adapter}', frozen_layers is {choice.frozen_layers} and layers names "
            f"{', '.join(map(str, choice.layers))}, so that no layer is trained: set frozen_layers to less, or adapter "
            "to 'none'"
        )
    from peft import LoraConfig, inject_adapter_in_model  # takes two seconds to import

    encoder.requires_grad_(False)
    for (layer,) in layers:
        config = LoraConfig(r=choice.adapter_rank, lora_alpha=choice.adapter_rank, target_modules=_PLACES)
        inject_adapter_in_model(config, cast(nn.Module, layer), _NAME)


@torch.no_grad()
def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network as of one without adapters: they are added to the weights at their places."""
    state = model.state_dict()
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight"):  # peft's own layer
            weight = f"{name}.base_layer.weight"
            state[weight] = state[weight] + module.get_delta_weight(_NAME)
    return {name.replace(".base_layer.", "."): value for name, value in state.items() if ".lora_" not in name}
