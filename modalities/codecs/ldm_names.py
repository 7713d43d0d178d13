"""Names of the latent-diffusion autoencoders (`encoder.down.0.block.1`) as those that diffusers gives the same tensors.

The KL-16 of MAR is published under such names. diffusers counts the decoder's levels from the coarsest one, and its
attention has linear layers where the published one has 1 x 1 convolutions.
"""

from __future__ import annotations

import re

PARTS = (
    (r"(encoder|decoder)\.mid\.block_1\.", r"\1.mid_block.resnets.0."),
    (r"(encoder|decoder)\.mid\.block_2\.", r"\1.mid_block.resnets.1."),
    (r"(encoder|decoder)\.mid\.attn_1\.", r"\1.mid_block.attentions.0."),
    (r"encoder\.down\.(\d+)\.block\.", r"encoder.down_blocks.\1.resnets."),
    (r"encoder\.down\.(\d+)\.attn\.", r"encoder.down_blocks.\1.attentions."),
    (r"encoder\.down\.(\d+)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.norm_out\.", ".conv_norm_out."),
)
LEVEL = re.compile(r"decoder\.up\.(\d+)\.(block|attn|upsample)\.")
LEVEL_PARTS = {"block": "resnets", "attn": "attentions", "upsample": "upsamplers.0"}
ATTENTION = {".norm.": ".group_norm.", ".q.": ".to_q.", ".k.": ".to_k.", ".v.": ".to_v.", ".proj_out.": ".to_out.0."}


def is_ldm_name(name: str) -> bool:
    """Whether a tensor is named as latent-diffusion names the levels of its autoencoders."""
    return name.startswith(("encoder.down.", "decoder.up."))


def diffusers_name(name: str, levels: int) -> str:
    """A tensor's name in diffusers' AutoencoderKL of so many levels."""
    for pattern, replacement in PARTS:
        name = re.sub(pattern, replacement, name)
    name = LEVEL.sub(lambda m: f"decoder.up_blocks.{levels - 1 - int(m[1])}.{LEVEL_PARTS[m[2]]}.", name)
    if ".attentions." in name:
        for published, ours in ATTENTION.items():
            name = name.replace(published, ours)
    return name
