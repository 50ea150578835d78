"""Whole models at small configurations: a few of our own, torchvision's, timm's and transformers' where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations


class Double(nn.Module):
    """Two convolutions."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(x)))


class UNet(nn.Module):
    """Down, up, and across."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = Double(3, 8), Double(8, 16), Double(16, 32)
        self.up2, self.decode2 = nn.ConvTranspose2d(32, 16, 2, stride=2), Double(32, 16)
        self.up1, self.decode1 = nn.ConvTranspose2d(16, 8, 2, stride=2), Double(16, 8)
        self.pool, self.head = nn.MaxPool2d(2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Any) -> Any:
        first = self.down1(x)
        second = self.down2(self.pool(first))
        deep = self.middle(self.pool(second))
        x = self.decode2(torch.cat([self.up2(deep), second], dim=1))
        x = self.decode1(torch.cat([self.up1(x), first], dim=1))
        return self.head(x)


class LSTMClassifier(nn.Module):
    """Embedding, LSTM, head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.lstm = nn.LSTM(12, 10, 2, batch_first=True, bidirectional=True, dropout=0.2)
        self.head = nn.Linear(20, 4)

    def forward(self, tokens: Any) -> Any:
        out, _ = self.lstm(self.embedding(tokens))
        return self.head(out[:, -1])


class Tied(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 16)
        self.norm = nn.LayerNorm(16, eps=1e-3)
        self.mix = nn.Linear(16, 16)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(16, 30, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Any) -> Any:
        x = self.embedding(tokens)
        x = x + self.dropout(torch.tanh(self.mix(self.norm(x))))
        return self.head(x)


class Tiny(nn.Module):
    """A convolutional block of everything small."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8, eps=1e-3)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.norm(self.conv(x)))
        return self.head(x.mean((2, 3)))


class Dropouts(nn.Module):
    """Every kind of dropout: their spread is what is compared."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.rows, self.channels, self.volumes = nn.Dropout1d(0.4), nn.Dropout2d(0.3), nn.Dropout3d(0.2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, 3, H, W]; returns [N, 5]."""
        x = self.channels(self.conv(x))
        x = nn.functional.dropout2d(x, 0.2, self.training) + self.rows(x.flatten(2)).view_as(x)
        x = x + self.volumes(x.unsqueeze(2)).squeeze(2)
        return nn.functional.dropout(self.head(x.mean((2, 3))), 0.1, self.training)


class States(nn.Module):
    """Recurrent layers and their states, given and taken."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(6, 8, batch_first=True)
        self.decoder = nn.LSTM(6, 8, batch_first=True)
        self.gru = nn.GRU(8, 4, bidirectional=True, batch_first=True)
        self.step = nn.LSTMCell(8, 8)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor, hidden: Any = None) -> Any:
        """x: [N, L, 6]; returns [N, 5] and the state."""
        _, state = self.encoder(x, hidden)
        out, (h, c) = self.decoder(x.flip(1), state)
        h0 = torch.zeros(x.size(0), 8, device=x.device)
        h1, c1 = self.step(out[:, -1], (h0, c[-1]))
        _, last = self.gru(out)
        return self.head(torch.cat([h[-1] + h1 * c1, last[0], last[1]], 1)), (h, c)


class Masked(nn.Module):
    """A transformer with a causal mask, as torch's tutorial makes it; a function among the attributes, as minGPT has it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)
        self.mlp = nn.ModuleDict({"up": nn.Linear(16, 32), "down": nn.Linear(32, 16)})
        parts = self.mlp
        self.through = lambda x: parts.down(torch.relu(parts.up(x)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens: [N, L]; returns [N, L, 16]."""
        size = tokens.size(1)
        mask = torch.triu(torch.ones(size, size) * float("-inf"), diagonal=1)
        x = self.encoder(self.embedding(tokens) * 4.0, mask)
        return x + self.through(x)


class Patches(nn.Module):
    """Returns sizes beside its tensor, and something that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 4, stride=4)

    def forward(self, pixels: Any) -> Any:
        x = self.proj(pixels)
        _, _, height, width = x.shape
        return x.flatten(2).transpose(1, 2), None, height, width


class Mix(nn.Module):
    """Parts that it shares with others; drops whole samples without a layer for it."""

    def __init__(self, activation: nn.Module, shared: nn.Module, drop: float) -> None:
        super().__init__()
        self.activation, self.shared, self.drop = activation, shared, drop
        self.own = nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        y = self.activation(self.own(self.shared(x)))
        if self.training and self.drop:
            keep = x.new_empty((x.shape[0], 1, 1)).bernoulli_(1 - self.drop)
            y = y * keep.div_(1 - self.drop)
        return x + y


class Tricks(nn.Module):
    """What real models do and textbooks do not: shared modules, sizes passed around, hand-written randomness."""

    def __init__(self) -> None:
        super().__init__()
        self.activation, shared = nn.GELU(), nn.Linear(8, 8)
        self.patches = Patches()
        self.first = Mix(self.activation, shared, 0.0)
        self.second_one = Mix(self.activation, shared, 0.4)
        self.alias = shared
        self.head = nn.Linear(8, 4)

    def forward(self, pixels: Any) -> Any:
        tokens, _, height, width = self.patches(pixels)
        tokens = self.second_one(self.first(tokens))
        image = tokens.transpose(1, 2).view(-1, 8, height, width)
        return self.head(self.activation(image.mean((2, 3))))


class Holders(nn.Module):
    """Parameters and modules in lists and dicts, names that are no identifiers, a computed weight."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({"a": nn.Sequential(nn.Linear(8, 8), nn.ReLU()), "b": nn.Linear(8, 8)})
        self.named = nn.ModuleDict({"x-y": nn.Linear(8, 8), "z": nn.Tanh()})
        self.scales = nn.ParameterList([nn.Parameter(torch.randn(8)), nn.Parameter(torch.randn(8))])
        self.shifts = nn.ParameterDict({"u": nn.Parameter(torch.randn(8))})
        self.conv = parametrizations.weight_norm(nn.Conv1d(3, 8, 3, padding=1))

    def forward(self, x: Any) -> Any:
        x = self.conv(x).mean(-1)
        for name in self.blocks:
            x = self.blocks[name](x)
        for scale in self.scales:
            x = x * scale
        return self.named["z"](self.named["x-y"](x)) + self.shifts["u"]


def noise(*shape: int) -> tuple[torch.Tensor, ...]:
    """The same numbers in each process: a proof that fails fails again."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0)),)


def image(size: int = 64) -> tuple[torch.Tensor, ...]:
    """Two images."""
    return noise(2, 3, size, size)


def tokens(top: int = 30) -> tuple[torch.Tensor, ...]:
    """Two sentences."""
    return (torch.randint(0, top, (2, 7), generator=torch.Generator().manual_seed(0)),)


def _torchvision(name: str, **more: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision_shim  # noqa: F401
        from torchvision import models

        return getattr(models, name)(weights=None, **more)  # type: ignore[no-any-return]

    return make


def _deeplab() -> nn.Module:
    import torchvision_shim  # noqa: F401
    from torchvision.models import segmentation

    return segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=3)  # type: ignore[no-any-return]


def _vit() -> nn.Module:
    import torchvision_shim  # noqa: F401
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 8, 2, 2, 32, 64, dropout=0.1, num_classes=10)


def _swin() -> nn.Module:
    import torchvision_shim  # noqa: F401
    from torchvision.models import SwinTransformer

    return SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=10)


def _timm(name: str, **more: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision_shim  # noqa: F401, I001 - before timm, which imports torchvision
        import timm

        return timm.create_model(name, **more)  # type: ignore[no-any-return]

    return make


def _bert() -> nn.Module:
    import torchvision_shim  # noqa: F401
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    )


def _gpt2() -> nn.Module:
    import torchvision_shim  # noqa: F401
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=2, n_positions=16, use_cache=False))


OWN: dict[str, tuple[Callable[[], nn.Module], tuple[torch.Tensor, ...]]] = {
    "tiny": (Tiny, image(8)),
    "tied": (Tied, tokens()),
    "dropouts": (Dropouts, image(8)),
    "states": (States, noise(2, 5, 6)),
    "masked": (Masked, tokens(30)),
    "tricks": (Tricks, image(16)),
    "holders": (Holders, noise(3, 3, 10)),
    "lstm": (LSTMClassifier, tokens(50)),
    "unet": (UNet, image(16)),
    "transformer encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2),
        noise(2, 5, 16),
    ),
}
TORCHVISION: dict[str, tuple[Callable[[], nn.Module], tuple[torch.Tensor, ...]]] = {
    **{name: (_torchvision(name), image()) for name in (
        "resnet18", "resnet50", "mobilenet_v3_small", "efficientnet_b0", "densenet121", "vgg11_bn", "squeezenet1_1",
        "convnext_tiny", "regnet_y_400mf", "shufflenet_v2_x0_5", "mnasnet0_5", "mobilenet_v2",
    )},
    "googlenet": (_torchvision("googlenet", init_weights=False), image()),
    "deeplabv3_resnet50": (_deeplab, image()),
    "vit": (_vit, image(32)),
    "swin": (_swin, image(32)),
}  # fmt: skip
ZOOS: dict[str, tuple[Callable[[], nn.Module], tuple[torch.Tensor, ...]]] = {
    "timm vit": (_timm("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=32, num_heads=2), image(32)),
    "timm convnext": (_timm("convnext_atto"), image(32)),
    "bert": (_bert, tokens()),
    "gpt2": (_gpt2, tokens()),
}
