"""What the adversarial term does to a small VAE: the same training with and without it, from the step where it begins.

    python -m tests.bench.vae_losses ../shared/videos --picture rows.png

Frames of real footage, short side 64 px, every fourth file held out whole. The `tiny` VAE learns random crops by L1
while the critic learns beside it; then one copy goes on with L1 alone and one with the adversarial term too, on the
same samples. Reported of held-out frames: L1, PSNR, and sharpness, the mean size of the Laplacian of what is decoded
over that of what was filmed (1: as sharp). LPIPS is not: with a random backbone it would mean nothing. `--picture`
writes rows of filmed, L1 alone, L1 + adversarial. The last line is JSON: with over without, of sharpness and of L1.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from av.error import FFmpegError
from torch import Tensor
from torch.nn import functional as F

from model.presets import VAE_PRESETS
from model.vae import CausalVideoVAE
from training.clip_tensors import to_tensor
from training.data import PackedClip, Sample, seed_of
from training.networks import build_network
from training.optim import build_critic_optimizers, build_optimizers
from training.stages import StageSettings
from training.vae_objective import VAEObjective

SIDE_PX, FRAMES_PER_FILE, FRAME_STEP = 64, 6, 12
FILES = (".mp4", ".mkv", ".webm")


def frames_of(folder: Path) -> dict[str, list[np.ndarray]]:
    """A few frames [1, H, W, 3] of every readable file, short side 64 px, sides cut to multiples of 16."""
    found = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix in FILES):
        images = []
        try:
            with av.open(str(path)) as container:
                for number, frame in enumerate(container.decode(video=0)):
                    if number % FRAME_STEP == 0:
                        image = frame.to_ndarray(format="rgb24")
                        scale = SIDE_PX / min(image.shape[:2])
                        size = [max(round(side * scale), SIDE_PX) for side in image.shape[1::-1]]
                        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
                        height, width = (side // 16 * 16 for side in small.shape[:2])
                        images.append(np.ascontiguousarray(small[None, :height, :width]))
                    if len(images) == FRAMES_PER_FILE:
                        break
        except FFmpegError as error:
            print(f"left out {path.name}: {error}")
        if images:
            found[path.stem] = images
    return found


def clip_of(name: str, frames: np.ndarray) -> PackedClip:
    return PackedClip(name, "frames", "memory", frames.shape[2], frames.shape[1], 1, {}, 0.0, {})


def sharpness(video: Tensor) -> Tensor:
    """Mean size of the Laplacian of [1, 3, 1, H, W]."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(3, 1, 3, 3)
    return F.conv2d(video[:, :, 0], kernel, groups=3).abs().mean()


class Trainer:
    """One VAE, its critic and their optimizers; a copy goes on from where it was copied."""

    def __init__(self, objective: VAEObjective) -> None:
        self.objective = objective
        assert objective.critic is not None
        self.optimizers = build_optimizers(objective.model, objective.stage)
        self.opponents = build_critic_optimizers(objective.critic, objective.stage)

    def step(self, samples: list[Sample], step: int) -> dict[str, float]:
        batch = self.objective.prepare(samples, [self.objective.fetch(sample) for sample in samples])
        for optimizer in (*self.optimizers, *self.opponents):
            optimizer.zero_grad()
        self.objective.loss(batch, step).mean().backward()
        self.objective.critic_loss(batch).mean().backward()
        torch.nn.utils.clip_grad_norm_(self.objective.model.parameters(), self.objective.stage.clip_norm)
        for optimizer in (*self.optimizers, *self.opponents):
            optimizer.step()
        return {name: value.item() for name, value in self.objective.parts().items()}


@torch.no_grad()
def decoded(vae: CausalVideoVAE, frames: np.ndarray) -> tuple[Tensor, Tensor]:
    video = to_tensor(frames)[None]
    return video, vae.decode(vae.encode(video).mode()).clamp(-1, 1)


def measured(objective: VAEObjective, held_out: dict[str, np.ndarray]) -> dict[str, float]:
    _, parts = objective.measure([clip_of(name, frames) for name, frames in held_out.items()])
    pairs = [decoded(objective.model, frames) for frames in held_out.values()]
    filmed, made = (torch.stack([sharpness(pair[side]) for pair in pairs]).mean() for side in (0, 1))
    return parts | {"sharpness": (made / filmed).item()}


def picture(path: str, networks: list[CausalVideoVAE], frames: list[np.ndarray]) -> None:
    """Rows of frames: filmed, then decoded by each network."""
    rows = [torch.cat([to_tensor(each)[:, 0, :, :SIDE_PX] for each in frames], dim=2)]
    rows += [torch.cat([decoded(vae, each)[1][0, :, 0, :, :SIDE_PX] for each in frames], dim=2) for vae in networks]
    image = ((torch.cat(rows, dim=1).permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
    large = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(path, cv2.cvtColor(large, cv2.COLOR_RGB2BGR))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=400, help="by L1 alone, before the two part")
    parser.add_argument("--more", type=int, default=200, help="steps of each after that")
    parser.add_argument("--picture", default="")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = frames_of(arguments.folder)
    trained, held_out = {}, {}
    for number, (name, images) in enumerate(files.items()):
        (held_out if number % 4 == 0 else trained).update({f"{name} {i}": image for i, image in enumerate(images)})
    held_out = {name: frames for name, frames in held_out.items() if name.endswith(" 0")}
    pixels = trained | held_out
    stage = StageSettings(
        name="vae",
        objective="vae",
        shards={"frames": 1},
        crop_px=32,
        learning_rate=2e-3,
        critic_learning_rate=4e-4,
        adversarial_weight=0.05,
        adversarial_from=arguments.steps,
    )
    vae = build_network(VAE_PRESETS["tiny"], seed=0)
    assert isinstance(vae, CausalVideoVAE)
    clips = [clip_of(name, frames) for name, frames in trained.items()]
    trainer = Trainer(VAEObjective(vae, stage, lambda clip: pixels[clip.clip_id], clips))
    print(f"{len(trained)} frames to train on, {len(held_out)} held out", flush=True)

    def train(trainer: Trainer, first: int, last: int) -> None:
        history = []
        for step in range(first, last):
            numbers = range(8 * step, 8 * step + 8)
            samples = [Sample(clips[seed_of("clip", n) % len(clips)], n, seed_of("sample", n)) for n in numbers]
            history.append(trainer.step(samples, step))
            if (step + 1) % 50 == 0:
                mean = {name: round(float(np.mean([each[name] for each in history])), 4) for name in history[0]}
                print(step + 1, f"{time.process_time():.0f} CPU s", mean, flush=True)
                history = []

    train(trainer, 0, arguments.steps)
    print("before", measured(trainer.objective, held_out), flush=True)
    without = copy.deepcopy(trainer)
    without.objective.stage = stage.model_copy(update={"adversarial_from": 1 << 30})
    results = {}
    for name, each in (("L1 alone", without), ("L1 + adversarial", trainer)):
        train(each, arguments.steps, arguments.steps + arguments.more)
        results[name] = measured(each.objective, held_out)
        print(name, results[name], flush=True)
    if arguments.picture:
        picture(arguments.picture, [each.objective.model for each in (without, trainer)], list(held_out.values())[:8])
    alone, both = results["L1 alone"], results["L1 + adversarial"]
    print(json.dumps({name: both[name] / alone[name] for name in ("sharpness", "l1")}))


if __name__ == "__main__":
    main()
