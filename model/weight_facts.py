"""What there is to know about a file of weights: network, layout, sizes, types, digests, values that are no numbers.

The digest of the weights is that of our tensors (name, type, shape, bytes, by name), so two files that hold the same
network in different layouts have the same one. It and the digests of the files cost one reading each; without them only
headers are read.
"""

import hashlib
from collections import Counter
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import torch

from model.keys import Layout, Network, find_naming
from model.lora_keys import is_lora, read_lora
from model.weight_config import preset_name
from model.weight_files import StoredWeights, raw_bytes
from model.weights import NetworkWeights, identify


def describe(stored: StoredWeights, digests: bool = True, values: bool = False) -> dict[str, Any]:
    """Facts as JSON can hold them.

    `digests` adds sha256 of each file and of the weights, `values` counts NaN and infinite values by tensor. What keeps
    the file from being loaded stands under `problem`, in the words that loading it would use.
    """
    facts: dict[str, Any] = {
        "path": str(stored.path),
        "files": len(stored.files),
        "wrapper": list(stored.wrapper),
        "tensors": len(stored.tensors),
        "parameters": sum(prod(tensor.shape) for tensor in stored.tensors.values()),
        "bytes": stored.num_bytes,
        "dtypes": dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in stored.tensors.values())),
    }
    try:
        facts |= _lora(stored) if is_lora(stored) else _network(stored, digests)
    except ValueError as error:
        naming = find_naming(list(stored.tensors))
        facts |= {"network": naming.network.value, "layout": naming.layout.value} if naming else {}
        facts["problem"] = str(error)
    if values:
        facts["not_finite"] = not_finite(stored)
    if digests:
        facts["sha256"] = {path.name: file_digest(path) for path in stored.files}
    return facts


def _network(stored: StoredWeights, digests: bool) -> dict[str, Any]:
    weights = identify(stored)
    naming = weights.naming
    both = naming.network is Network.VAE and naming.layout is Layout.ORIGINAL
    facts: dict[str, Any] = {
        "network": naming.network.value,
        "layout": "original, diffusers (one set of names)" if both else naming.layout.value,
        "prefix": naming.prefix,
        "config": asdict(weights.config),
        "preset": preset_name(weights.config),
    }
    return {**facts, "weights_sha256": weights_digest(weights)} if digests else facts


def _lora(stored: StoredWeights) -> dict[str, Any]:
    layout, adapters = read_lora(stored)
    return {
        "network": "lora",
        "layout": layout.value,
        "modules": len(adapters),
        "ranks": sorted({adapter.rank for adapter in adapters.values()}),
        "scales": sorted({adapter.scale for adapter in adapters.values()}),
    }


def weights_digest(weights: NetworkWeights) -> str:
    """Sha256 of a network's tensors, the same whatever the layout, the order or the number of files."""
    digest = hashlib.sha256()
    for link in sorted(weights.links, key=lambda link: link.name):
        digest.update(f"{link.name} {weights.dtype(link)} {list(link.shape)}\n".encode())
        digest.update(raw_bytes(weights.read(link)))
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Sha256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def not_finite(stored: StoredWeights) -> dict[str, dict[str, int]]:
    """Number of NaN and of infinite values of each tensor that has any."""
    found = {}
    for name in stored.tensors:
        tensor = stored.read(name)
        if not tensor.is_floating_point():
            continue
        wide = tensor.to(torch.float32) if tensor.itemsize == 1 else tensor
        counts = {"nan": int(wide.isnan().sum()), "infinite": int(wide.isinf().sum())}
        if any(counts.values()):
            found[name] = counts
    return found
