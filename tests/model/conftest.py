"""diffusers, the reference of these tests, imports torchvision, which needs the shim before it."""

import torchvision_shim

torchvision_shim.install()
