"""The peer network: a plain ResNet18 or 34 in PyTorch, layer for layer that of ``jssm``."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from jssm.networks.resnet import STAGES


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, inputs: int, features: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, features, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(features)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != features:
            projection = nn.Conv2d(inputs, features, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(features))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, features, H / stride, W / stride)."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet(depth: int, width: int, outputs: int) -> nn.Module:
    """The network: (N, 1, H, W) to (N, outputs), with three fully connected layers."""
    layers: list[nn.Module] = [
        nn.Conv2d(1, width, 7, 2, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    inputs = width
    for stage, blocks in enumerate(STAGES[depth]):
        for i in range(blocks):
            features = width * 2**stage
            layers.append(BasicBlock(inputs, features, 2 if stage > 0 and i == 0 else 1))
            inputs = features
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers += [nn.Linear(inputs, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, outputs))


class Peer:
    """The network on one device, as a PyTorch user would run it there: on a GPU with channels
    last, autocast to ``bfloat16`` where asked for, and compiled; on a CPU as it is. A GPU's work is
    only queued by the calls."""

    def __init__(self, depth: int, width: int, outputs: int, *, device: str, bfloat16: bool):
        self.device, self.bfloat16 = device, bfloat16
        self.network = resnet(depth, width, outputs).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.call: Callable = self.network
        if device != "cpu":
            self.network.to(memory_format=torch.channels_last)
            self.call = torch.compile(self.network)

    def place(self, images: Tensor) -> Tensor:
        """Images (N, 1, H, W) on the device."""
        layout = torch.contiguous_format if self.device == "cpu" else torch.channels_last
        return images.to(self.device, memory_format=layout)

    def predict(self, images: Tensor) -> Tensor:
        """The outputs (N, outputs) with running statistics."""
        self.network.eval()
        with torch.inference_mode(), self._autocast():
            return self.call(images)

    def gradients(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss after a forward and a backward pass."""
        self.network.train()
        self.optimizer.zero_grad()
        with self._autocast():
            output = self.call(images)
        loss = torch.mean((output.float() - targets) ** 2)
        loss.backward()
        return loss

    def step(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss after a whole training step with Adam."""
        loss = self.gradients(images, targets)
        self.optimizer.step()
        return loss

    def _autocast(self) -> torch.autocast:
        kind = self.device.partition(":")[0]
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.bfloat16)
