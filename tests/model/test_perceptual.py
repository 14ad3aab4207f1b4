"""LPIPS with random weights in the published files' formats, against the authors' package and written out plainly."""

import contextlib
import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from model import perceptual
from model.perceptual import LPIPS, open_lpips


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Backbone and linear layers under the published names; as large as they need be for features to differ."""
    generator = torch.Generator().manual_seed(0)
    backbone, linear, inputs = {"classifier.6.bias": torch.zeros(3)}, {}, 3
    for number, layer in enumerate(perceptual.LAYERS):
        for name, channels in layer:
            spread = (2 / (9 * inputs)) ** 0.5
            backbone[f"features.{name}.weight"] = torch.randn(channels, inputs, 3, 3, generator=generator) * spread
            backbone[f"features.{name}.bias"] = torch.randn(channels, generator=generator) * 0.1
            inputs = channels
        linear[f"lin{number}.model.1.weight"] = torch.rand(1, inputs, 1, 1, generator=generator)
    return backbone, linear


@pytest.fixture(scope="module")
def files(weights, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """As they are published: pickles from before torch 1.6."""
    folder = tmp_path_factory.mktemp("lpips")
    paths = (folder / "vgg16-397923af.pth", folder / "vgg.pth")
    for path, tensors in zip(paths, weights, strict=True):
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
    return paths


@pytest.fixture(scope="module")
def network(files) -> LPIPS:
    return open_lpips(*files)


def videos(num_frames: int = 3, size: tuple[int, int] = (16, 32), batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(batch, 3, num_frames, *size, generator=generator) * 2 - 1
    return x, (x + 0.3 * torch.randn(x.shape, generator=generator)).clamp(-1, 1)


def plain_distance(x_NCHW: Tensor, y_NCHW: Tensor, backbone: dict[str, Tensor], linear: dict[str, Tensor]) -> Tensor:
    """The paper's equation 1, picture by picture and layer by layer."""

    def features(picture: Tensor) -> list[Tensor]:
        mean, deviation = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        h, seen = (picture - mean.view(3, 1, 1)) / deviation.view(3, 1, 1), []
        for place in range(30):
            if place in (4, 9, 16, 23):
                h = F.max_pool2d(h, kernel_size=2, stride=2)
            elif f"features.{place}.weight" in backbone:
                h = F.conv2d(h, backbone[f"features.{place}.weight"], backbone[f"features.{place}.bias"], padding=1)
            else:
                h = F.relu(h)
            if place in (3, 8, 15, 22, 29):
                seen.append(h)
        return seen

    total = torch.zeros(len(x_NCHW))
    for number, (one, other) in enumerate(zip(features(x_NCHW), features(y_NCHW), strict=True)):
        one, other = (h / (h.square().sum(dim=1, keepdim=True).sqrt() + 1e-10) for h in (one, other))
        total += ((one - other).square() * linear[f"lin{number}.model.1.weight"]).sum(dim=1).mean(dim=(1, 2))
    return total


def test_the_distance_is_the_paper_s(network: LPIPS, weights) -> None:
    x, y = videos()
    distance = network(x, y)
    expected = [plain_distance(x[:, :, frame], y[:, :, frame], *weights) for frame in range(3)]
    torch.testing.assert_close(distance, torch.stack(expected, dim=1), rtol=1e-5, atol=1e-6)
    assert (distance > 0.01).all()


@contextlib.contextmanager
def authors_network(backbone: dict[str, Tensor], linear: dict[str, Tensor]) -> Iterator[Any]:
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # torchvision's about its old arguments
        import lpips

        for name in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_"):  # 138 million weights, all replaced
            patch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
        reference = lpips.LPIPS(pretrained=False, net="vgg", pnet_rand=True, verbose=False)
    state = {
        name: backbone[f"features.{name.split('.')[-2]}.{name.split('.')[-1]}"] if name.startswith("net.") else value
        for name, value in reference.state_dict().items()
    }
    for name, value in linear.items():
        state[name] = state[f"lins.{name[3]}{name[4:]}"] = value
    reference.load_state_dict(state)
    yield reference


def test_distance_and_gradient_are_those_of_the_authors_package(network: LPIPS, weights) -> None:
    x, y = videos(num_frames=1)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    with authors_network(*weights) as reference:
        expected = reference(theirs[:, :, 0], y[:, :, 0]).flatten()
        expected.sum().backward()
    distance = network(ours, y)
    distance.sum().backward()
    torch.testing.assert_close(distance[:, 0], expected, rtol=1e-5, atol=1e-6)
    assert ours.grad is not None and theirs.grad is not None
    assert (ours.grad - theirs.grad).norm() < 1e-5 * theirs.grad.norm()


def test_frames_are_judged_by_themselves_whatever_the_pieces(network: LPIPS, monkeypatch: pytest.MonkeyPatch) -> None:
    network = copy.deepcopy(network).double()  # in float32, rounding lets another cell be the maximum of a pool
    x, y = (video.double() for video in videos())
    results = []
    for pixels in (1, 2 * 16 * 32, 1 << 20):
        monkeypatch.setitem(perceptual.CHUNK_PX, "cpu", pixels)
        leaf = x.clone().requires_grad_()
        distance = network(leaf, y)
        distance.sum().backward()
        results.append((distance.detach(), leaf.grad))
    for distance, gradient in results[1:]:
        torch.testing.assert_close(distance, results[0][0])
        torch.testing.assert_close(gradient, results[0][1])
    torch.testing.assert_close(network(x[:, :, 1:2], y[:, :, 1:2])[:, 0], results[0][0][:, 1])


def test_gradients_reach_the_first_video_alone_and_no_weights(network: LPIPS) -> None:
    x, y = (video.requires_grad_() for video in videos(num_frames=1, size=(16, 16)))
    network(x, y).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    assert y.grad is None and all(weight.grad is None for weight in network.parameters())


def test_a_video_is_at_no_distance_from_itself_and_black_gives_a_gradient(network: LPIPS) -> None:
    x, _ = videos(num_frames=1, size=(16, 16))
    x.requires_grad_()
    distance = network(x, x)
    distance.sum().backward()
    assert distance.tolist() == [[0.0], [0.0]] and x.grad is not None and not x.grad.any()
    dead = LPIPS().eval()  # no biases, no light: nothing fires in some cells
    with torch.no_grad():
        for name, weight in dead.named_parameters():
            weight.fill_(-1.0 if name == "features.0.bias" else 0.0 if "features" in name else 1.0)
    leaf = torch.zeros(1, 3, 1, 16, 16, requires_grad=True)
    dead(leaf, torch.ones(1, 3, 1, 16, 16)).sum().backward()
    assert leaf.grad is not None and leaf.grad.isfinite().all()


def test_safetensors_and_new_pickles_give_the_same_network(files, weights, tmp_path: Path, network: LPIPS) -> None:
    save_file(weights[0], tmp_path / "vgg16.safetensors")
    torch.save(weights[1], tmp_path / "lin.pth")
    again = open_lpips(tmp_path / "vgg16.safetensors", tmp_path / "lin.pth")
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    x, y = videos(num_frames=1, size=(16, 16))
    assert torch.equal(again(x, y), network(x, y))


def test_files_that_do_not_fit_are_refused_by_name(files, weights, tmp_path: Path) -> None:
    backbone, linear = files
    missing = tmp_path / "nowhere.pth"
    with pytest.raises(
        ValueError, match=r"no file .*nowhere.pth; expected the backbone of LPIPS \(torchvision's vgg16"
    ):
        open_lpips(missing, linear)
    with pytest.raises(ValueError, match=r"vgg.pth has no tensor 'features.0.weight' and is not the backbone.*lin0"):
        open_lpips(linear, linear)
    with pytest.raises(ValueError, match=r"has no tensor 'lin0.model.1.weight' and is not the linear layers of LPIPS"):
        open_lpips(backbone, backbone)
    wrong = tmp_path / "wrong.pth"
    torch.save(weights[1] | {"lin3.model.1.weight": torch.ones(1, 4, 1, 1)}, wrong)
    with pytest.raises(ValueError, match=r"'lin3.model.1.weight' is \[1, 4, 1, 1\], but .* has \[1, 512, 1, 1\] there"):
        open_lpips(backbone, wrong)
    torch.save(weights[1] | {"lin0.model.1.weight": -weights[1]["lin0.model.1.weight"]}, wrong)
    with pytest.raises(ValueError, match="has a negative weight"):
        open_lpips(backbone, wrong)


@pytest.mark.parametrize("content", [b"", b"\x80\x02garbage", b"PK\x03\x04"], ids=["empty", "garbage", "truncated"])
def test_damaged_files_are_refused(files, tmp_path: Path, content: bytes) -> None:
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged.pth is damaged or holds more than tensors"):
        open_lpips(files[0], damaged)


def test_a_pickle_that_wants_to_run_code_is_refused(files, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.pth"
    torch.save({"lin0.model.1.weight": Path("x")}, hostile)
    with pytest.raises(ValueError, match=r"hostile.pth is damaged or holds more than tensors"):
        open_lpips(files[0], hostile)


@pytest.mark.parametrize(
    "shapes", [((1, 3, 1, 16, 16), (1, 3, 2, 16, 16)), ((1, 1, 1, 16, 16),) * 2, ((1, 3, 1, 8, 16),) * 2]
)
def test_what_cannot_be_compared_is_refused(network: LPIPS, shapes: tuple) -> None:
    with pytest.raises(ValueError, match=r"one shape with sides of 16 px or more, got"):
        network(*(torch.zeros(shape) for shape in shapes))
