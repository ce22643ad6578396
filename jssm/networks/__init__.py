"""Networks in Linen, which know nothing of losses and data: layers, ResNet, U-Net, searches."""
