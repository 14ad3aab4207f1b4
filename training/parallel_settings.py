"""How a run is spread over processes and kept in memory: `[train.parallel]` of a recipe.

    world = replicas x shards x context        by torchrun or Ray Train; without either it is one process

    replicas   copies of the sharded weights (HSDP); each sees other samples
    shards     processes among which weights, gradients and moments are shared out (FSDP2); each sees other samples
    context    processes that share the tokens of a sample: ulysses x ring

Splitting each block's matrices as well (tensor parallelism) is not offered. By count of bytes, the sums of a block's
outputs over T processes are T times (dual blocks) or T/2 times (single blocks) what exchanging heads sends, and nothing
hides them; the weights it need not gather are hidden behind compute from about 2,500 tokens per process (24 D^2 bytes
at 200 GB/s against 24 D^2 operations a token at 500 TFLOP/s), which every stage's batches exceed.

None of it changes what is learned: losses and gradients are those of one process, but for rounding.
"""

from typing import Literal

from pydantic import BaseModel, Field


class ParallelSettings(BaseModel, frozen=True, extra="forbid"):
    """Degrees of parallelism, numbers and memory of a run."""

    replicas: int = Field(default=1, ge=1, description="copies of the sharded weights (HSDP)")
    shards: int = Field(
        default=0, ge=0, description="processes that share out the weights (FSDP2); 0 = all that remain"
    )
    ulysses: int = Field(default=1, ge=1, description="processes that share a sample's tokens, heads exchanged")
    ring: int = Field(default=1, ge=1, description="processes that share a sample's tokens, keys sent around in a ring")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="of forward and backward; with bfloat16 the weights that are updated stay float32 unless "
        "master_weights is false, and gradients are summed in float32",
    )
    master_weights: bool = Field(
        default=True,
        description="bfloat16: keep float32 weights to update; false halves their memory (stochastic rounding)",
    )
    checkpointing: Literal["none", "selective", "full"] = Field(
        default="none", description="what of a block's activations is computed again in the backward"
    )
    offload_activations: bool = Field(
        default=False,
        description="activations kept for the backward wait in host memory (pinned, copied beside the compute)",
    )
    compile: bool = Field(default=False, description="compile each block with torch.compile")
    loader_workers: int = Field(
        default=0, ge=0, description="processes per rank that read and decode ahead; 0 = in the training process"
    )

    @property
    def context(self) -> int:
        """Processes that share the tokens of one sample."""
        return self.ulysses * self.ring
