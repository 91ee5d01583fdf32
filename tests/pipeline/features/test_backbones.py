"""Backbones by name: shapes, hashes, and weights that do not fit or are not there."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.features import efficientnet_lite
from ta2n.pipeline.features.backbones import load_backbone
from ta2n.pipeline.features.fold import fold_batch_norm
from ta2n.pipeline.features.forward import normalise
from ta2n.pipeline.features.preprocess import Preprocessing, crop_frames, view_window


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 512), ("resnet50", 2048), ("efficientnet-lite0", 1280)])
def test_maps_have_the_promised_shape(name: str, channels: int) -> None:
    backbone = load_backbone(name, "random", seed=3)
    with torch.inference_mode():
        maps = backbone.module(torch.randn(2, 3, 224, 224))
    assert maps.shape == (2, channels, 7, 7)
    assert backbone.spec.channels == channels
    assert torch.isfinite(maps.half()).all()
    assert maps.std() > 1e-3
    assert backbone.spec.weights == "random (seed 3)"
    assert not any(parameter.requires_grad for parameter in backbone.module.parameters())


def test_random_weights_follow_the_seed_and_nothing_else() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (load_backbone("resnet18", "random", seed=seed) for seed in (1, 1, 2))
    assert first.spec.weights_sha256 == again.spec.weights_sha256 != other.spec.weights_sha256
    assert torch.equal(torch.random.get_rng_state(), state)


def test_random_means_random_for_every_backbone() -> None:
    hashes = {load_backbone("efficientnet-lite0", weights).spec.weights_sha256 for weights in ("random", "imagenet")}
    assert len(hashes) == 2


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "efficientnet-lite0"])
def test_folding_batch_norm_changes_nothing_and_leaves_none(name: str) -> None:
    torch.manual_seed(1)
    network = (
        efficientnet_lite.EfficientNetLite0()
        if name == "efficientnet-lite0"
        else torchvision.models.get_model(name, weights=None)
    ).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for values in (module.running_mean, module.running_var, module.weight, module.bias):
                nn.init.uniform_(values, 0.5, 1.0)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        before = network.double()(images.double())
        after = fold_batch_norm(network)(images.double())
    assert torch.allclose(before, after, rtol=1e-9, atol=1e-9 * float(before.abs().max()))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_state_dict_from_a_file(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(5)
    network = torchvision.models.resnet18(weights=None)
    file = tmp_path / f"mine{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{n}": t for n, t in network.state_dict().items()}}, file)
    else:
        safetensors.torch.save_file(network.state_dict(), file)
    backbone = load_backbone("resnet18", str(file))
    assert backbone.spec.weights == file.name
    images = torch.randn(1, 3, 224, 224)
    network.eval()
    with torch.inference_mode():
        pooled = backbone.module(images).mean((2, 3))
        assert torch.allclose(network.fc(pooled), network(images), atol=1e-4)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    state["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    del state["layer4.1.bn2.bias"]
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(InputError, match=r"odd.pth: does not fit.*conv1.weight has shape.*missing layer4.1.bn2.bias"):
        load_backbone("resnet18", str(tmp_path / "odd.pth"))


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(weights=None), tmp_path / "whole.pth")
    with pytest.raises(InputError, match="holds a pickled module"):
        load_backbone("resnet18", str(tmp_path / "whole.pth"))
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError, match="text"):
        load_backbone("resnet18", str(tmp_path / "text.pth"))
    with pytest.raises(MissingError, match="no such weights file"):
        load_backbone("resnet18", str(tmp_path / "none.pth"))


def test_unknown_names_list_the_choices() -> None:
    with pytest.raises(InputError, match="'vgg' is not known; choose one of resnet50"):
        load_backbone("vgg")
    with pytest.raises(InputError, match="no weights 'imagenet9'; choose one of imagenet1k-v1, random"):
        load_backbone("resnet18", "imagenet9")
    with pytest.raises(InputError, match="no weights 'imagenet9'; choose imagenet, random"):
        load_backbone("efficientnet-lite0", "imagenet9")


def test_no_network_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(MissingError, match=r"resnet50-.*\.pth with --weights FILE, .*--weights random"):
        load_backbone("resnet50")


def test_windows() -> None:
    made = Preprocessing((0.0,) * 3, (1.0,) * 3)
    centre = view_window(made, (256, 256), view=0, seed=1, clip_id="a")
    assert (centre.top, centre.left, centre.mirrored) == (16, 16, False)
    drawn = [
        view_window(made, (256, 256), view=view, seed=1, clip_id=f"c{clip}") for view in (1, 2) for clip in range(300)
    ]
    assert {one.top for one in drawn} == set(range(33))
    assert 0.4 < sum(one.mirrored for one in drawn) / 600 < 0.6
    assert drawn[0] == view_window(made, (256, 256), view=1, seed=1, clip_id="c0")
    never = Preprocessing((0.0,) * 3, (1.0,) * 3, flip=False)
    assert not any(view_window(never, (256, 256), view=1, seed=1, clip_id=f"c{clip}").mirrored for clip in range(50))


def test_crop_and_normalise_by_hand() -> None:
    made = Preprocessing((0.5, 0.0, 0.0), (0.5, 1.0, 0.25), resize=(4, 4), crop=2)
    images = torch.arange(48, dtype=torch.uint8).reshape(1, 4, 4, 3).numpy()
    part = crop_frames(images, view_window(made, (4, 4), view=0, seed=0, clip_id="a"), 2)
    assert part[0, :, :, 0].tolist() == [[15, 18], [27, 30]]
    pixels = normalise(part, made, torch.device("cpu"))
    assert pixels.shape == (1, 3, 2, 2)
    assert pixels[0, 0, 0, 0].item() == pytest.approx((15 / 255 - 0.5) / 0.5)
    assert pixels[0, 2, 1, 1].item() == pytest.approx(32 / 255 / 0.25)
