"""Models that were tried after the tables had been written: what share of them ends verified. ``make support-matrix``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from small_models import image, tokens
from torch import nn

SIZES = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip
LENGTHS: dict[str, Any] = {"max_position_embeddings": 32, "use_cache": False}
GROUPED: dict[str, Any] = {**SIZES, **LENGTHS, "num_key_value_heads": 1}
SMALL_VIT = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
# class of transformers, its configuration's, what is small in it
TEXT: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("DistilBertModel", "DistilBertConfig", {"vocab_size": 30, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}),
    ("RobertaForSequenceClassification", "RobertaConfig", {**SIZES, "pad_token_id": 1}),
    ("AlbertModel", "AlbertConfig", {**SIZES, "embedding_size": 8}),
    ("ElectraModel", "ElectraConfig", {**SIZES, "embedding_size": 8}),
    ("BertForMaskedLM", "BertConfig", SIZES),
    ("BertForSequenceClassification", "BertConfig", SIZES),
    ("T5EncoderModel", "T5Config", {
        "vocab_size": 30, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2,
    }),
    ("OPTForCausalLM", "OPTConfig", {
        "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 32,
        "word_embed_proj_dim": 16, **LENGTHS,
    }),
    ("GPTNeoForCausalLM", "GPTNeoConfig", {
        "vocab_size": 30, "hidden_size": 16, "num_layers": 2, "num_heads": 2,
        "attention_types": [[["global", "local"], 1]], **LENGTHS,
    }),
    ("GPTNeoXForCausalLM", "GPTNeoXConfig", {**SIZES, **LENGTHS}),
    ("LlamaForCausalLM", "LlamaConfig", GROUPED),
    ("MistralForCausalLM", "MistralConfig", GROUPED),
    ("Qwen2ForCausalLM", "Qwen2Config", GROUPED),
    ("PhiForCausalLM", "PhiConfig", {**SIZES, **LENGTHS}),
    ("GemmaForCausalLM", "GemmaConfig", {**GROUPED, "head_dim": 8}),
    ("BloomForCausalLM", "BloomConfig", {
        "vocab_size": 30, "hidden_size": 16, "n_layer": 2, "n_head": 2, "use_cache": False,
    }),
    ("XLNetModel", "XLNetConfig", {"vocab_size": 30, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32}),
    ("DebertaModel", "DebertaConfig", SIZES),
)  # fmt: skip
IMAGES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("ViTModel", "ViTConfig", SMALL_VIT),
    ("CLIPVisionModel", "CLIPVisionConfig", SMALL_VIT),
    ("ResNetForImageClassification", "ResNetConfig", {
        "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic",
    }),
    ("ConvNextModel", "ConvNextConfig", {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}),
    ("SegformerModel", "SegformerConfig", {
        "depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2],
    }),
    ("SwinModel", "SwinConfig", {
        "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "image_size": 32, "patch_size": 4,
    }),
)  # fmt: skip
TORCHVISION = {"mnasnet1_0": 64, "regnet_x_400mf": 64, "alexnet": 96, "efficientnet_v2_s": 64, "swin_v2_t": 64}
# timm's name: the size of the images
TIMM = {
    "tinynet_e": 64, "lcnet_050": 64, "ghostnet_050": 64, "mobilevit_xxs": 64, "resnet18d": 64, "seresnet18": 64,
    "gernet_s": 64,
    "edgenext_xx_small": 64, "deit_tiny_patch16_224": 224, "starnet_s1": 64, "levit_128s": 224, "pvt_v2_b0": 64,
    "regnety_002": 64, "rexnet_100": 64, "ese_vovnet19b_dw": 64, "dla34": 64, "skresnet18": 64, "repvgg_a0": 64,
    "mobileone_s0": 64, "fastvit_t8": 64, "inception_next_atto": 64, "poolformer_s12": 64, "efficientformer_l1": 224,
    "mobilenetv4_conv_small": 64, "cait_xxs24_224": 224, "xcit_nano_12_p16_224": 224, "resmlp_12_224": 224,
    "gmlp_ti16_224": 224, "res2net50_26w_4s": 64, "nfnet_l0": 64, "crossvit_tiny_240": 240, "convmixer_768_32": 64,
    "twins_pcpvt_small": 224, "mixer_s32_224": 224, "tnt_s_patch16_224": 224, "hrnet_w18_small": 64, "efficientvit_b0": 64,
    "efficientvit_m0": 224, "repghostnet_050": 64, "pit_ti_224": 224, "convit_tiny": 224, "coat_tiny": 224,
    "convnextv2_atto": 64, "repvit_m0_9": 64, "mambaout_femto": 64, "semnasnet_050": 64, "selecsls42b": 64,
    "cs3darknet_s": 64, "resnest14d": 64, "gcresnext26ts": 64, "bat_resnext26ts": 256, "halonet26t": 256,
    "lambda_resnet26t": 64, "resnetv2_18": 64, "hgnetv2_b0": 64, "mixnet_s": 64, "nest_tiny": 224,
    "sequencer2d_s": 224, "volo_d1_224": 224,
    "coatnet_pico_rw_224": 224, "eva02_tiny_patch14_224": 224, "vit_relpos_small_patch16_224": 224, "hiera_tiny_224": 224,
    "rdnet_tiny": 64, "inception_v4": 96, "mvitv2_tiny": 224, "vovnet39a": 64, "tresnet_m": 64,
}  # fmt: skip

Example = tuple[Callable[[], nn.Module], tuple[torch.Tensor, ...]]


def _transformers(cls: str, configuration: str, sizes: dict[str, Any]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision_shim  # noqa: F401
        import transformers

        return getattr(transformers, cls)(getattr(transformers, configuration)(**sizes))  # type: ignore[no-any-return]

    return make


def _torchvision(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision_shim  # noqa: F401
        from torchvision import models

        return getattr(models, name)(weights=None)  # type: ignore[no-any-return]

    return make


def _timm(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision_shim  # noqa: F401, I001 - before timm, which imports torchvision
        import timm

        return timm.create_model(name, num_classes=10)  # type: ignore[no-any-return]

    return make


FURTHER: dict[str, Example] = {
    **{f"transformers {cls}": (_transformers(cls, conf, sizes), tokens()) for cls, conf, sizes in TEXT},
    **{
        f"transformers {cls}": (_transformers(cls, conf, sizes), image(sizes.get("image_size", 64)))
        for cls, conf, sizes in IMAGES
    },
    **{f"torchvision {name}": (_torchvision(name), image(size)) for name, size in TORCHVISION.items()},
    **{f"timm {name}": (_timm(name), image(size)) for name, size in TIMM.items()},
}
