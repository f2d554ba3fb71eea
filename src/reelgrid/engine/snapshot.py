"""The state of a stepped pipeline as JSON trees beside named tensors, and back.

It holds the values between blocks (with the prompt embeddings, so that no text encoder is needed
again), the values between steps, every field of the scheduler and the guider, and the random
numbers. Networks are only named. A value that cannot be stored exactly is refused, never dropped.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.modular_pipelines.modular_pipeline import ModularPipeline
from PIL import Image
from torch import nn

from reelgrid.engine.device import RandomStream
from reelgrid.engine.stepped_pipeline import SteppedPipeline
from reelgrid.errors import GenerationError

Tensors = dict[str, torch.Tensor]

_TAG = "$"


class UnencodableError(TypeError):
    """A value cannot be stored exactly in a checkpoint; the message names its place and type."""


class TreeEncoder:
    """Encodes trees as JSON and collects their tensors; a tensor that occurs twice is kept once.

    Args:
        components: The networks and settings that a tree may refer to, by name: the JSON holds
            the name only.
    """

    def __init__(self, components: Mapping[str, object]) -> None:
        self.tensors: Tensors = {}
        self._component_names = {
            id(value): name for name, value in components.items() if value is not None
        }
        self._tensor_names: dict[int, str] = {}
        self._kept_alive: list[torch.Tensor] = []

    def encode(self, value: Any, at: str) -> Any:  # any value is the point
        """Return the JSON form of `value`; `at` is its path, for tensor names and errors.

        Raises:
            UnencodableError: A value cannot be stored exactly.
        """
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if id(value) in self._component_names:
            return {_TAG: "component", "name": self._component_names[id(value)]}
        if isinstance(value, torch.Tensor):
            return self._encode_tensor(value, at)
        if isinstance(value, Mapping):
            return self._encode_mapping(value, at)
        if isinstance(value, list | tuple):
            items = [self.encode(item, f"{at}.{i}") for i, item in enumerate(value)]
            return items if isinstance(value, list) else {_TAG: "tuple", "items": items}
        return self._encode_object(value, at)

    def _encode_mapping(self, value: Mapping[Any, Any], at: str) -> Any:
        items = [
            [self.encode(key, f"{at}.key"), self.encode(item, f"{at}.{key}")]
            for key, item in value.items()
        ]
        return {_TAG: "dict", "items": items}

    def _encode_object(self, value: object, at: str) -> Any:
        if isinstance(value, torch.dtype):
            return {_TAG: "dtype", "name": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {_TAG: "device", "name": str(value)}
        if isinstance(value, torch.Size):
            return {_TAG: "tuple", "items": list(value)}
        if isinstance(value, torch.Generator):
            state = self._encode_tensor(value.get_state(), at)
            return {_TAG: "generator", "device": str(value.device), "state": state}
        if isinstance(value, np.generic):
            return self.encode(value.item(), at)
        if isinstance(value, np.ndarray) and value.dtype != object:
            array = self._encode_tensor(torch.from_numpy(np.ascontiguousarray(value)), at)
            return {_TAG: "array", "tensor": array}
        if isinstance(value, Image.Image):
            return {_TAG: "image", "png": self._encode_tensor(_png(value), at)}
        raise UnencodableError(f"{at} is a {type(value).__name__}, which no checkpoint can hold")

    def _encode_tensor(self, tensor: torch.Tensor, at: str) -> Any:
        name = self._tensor_names.get(id(tensor))
        if name is None:
            name = self._tensor_names[id(tensor)] = at
            self._kept_alive.append(tensor)  # an id is only unique while its object lives
            copied = tensor.detach().to("cpu", copy=True)
            # Latents are stored in float32: exact for every shorter float, on any device.
            is_short = at.endswith("latents") and tensor.is_floating_point()
            copied = copied.float() if is_short and tensor.element_size() < 4 else copied
            self.tensors[name] = copied.contiguous()
        return {
            _TAG: "tensor",
            "name": name,
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "stride": list(tensor.stride()),
            "on_cpu": tensor.device.type == "cpu",
        }


class TreeDecoder:
    """Decodes JSON and tensors to the tree that `TreeEncoder` was given."""

    def __init__(
        self, tensors: Tensors, components: Mapping[str, object], device: torch.device
    ) -> None:
        self._tensors = tensors
        self._components = components
        self._device = device
        self._decoded: Tensors = {}

    def decode(self, value: Any) -> Any:
        """Return the value that has this JSON form.

        Raises:
            KeyError: It names an unknown tensor, component or kind.
        """
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        return self._DECODERS[value[_TAG]](self, value)

    def _tuple(self, value: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(self.decode(item) for item in value["items"])

    def _dict(self, value: dict[str, Any]) -> dict[Any, Any]:
        return {self.decode(key): self.decode(item) for key, item in value["items"]}

    def _component(self, value: dict[str, Any]) -> object:
        return self._components[value["name"]]

    def _dtype(self, value: dict[str, Any]) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, value["name"])
        return dtype

    def _device_of(self, value: dict[str, Any]) -> torch.device:
        return torch.device("cpu") if value["name"] == "cpu" else self._device

    def _generator(self, value: dict[str, Any]) -> torch.Generator:
        generator = torch.Generator(device=value["device"])
        generator.set_state(self._tensors[value["state"]["name"]])
        return generator

    def _array(self, value: dict[str, Any]) -> np.ndarray:
        return self._tensors[value["tensor"]["name"]].numpy()

    def _image(self, value: dict[str, Any]) -> Image.Image:
        image = Image.open(io.BytesIO(self._tensors[value["png"]["name"]].numpy().tobytes()))
        image.load()
        return image

    def _tensor(self, value: dict[str, Any]) -> torch.Tensor:
        name = value["name"]
        if name not in self._decoded:
            stored = self._tensors[name].to(getattr(torch, value["dtype"]))
            strided = _with_stride(stored, tuple(value["stride"]))
            self._decoded[name] = strided if value["on_cpu"] else strided.to(self._device)
        return self._decoded[name]

    _DECODERS = {  # noqa: RUF012  # a table, never changed
        "tuple": _tuple,
        "dict": _dict,
        "component": _component,
        "dtype": _dtype,
        "device": _device_of,
        "generator": _generator,
        "array": _array,
        "image": _image,
        "tensor": _tensor,
    }


def _with_stride(tensor: torch.Tensor, stride: tuple[int, ...]) -> torch.Tensor:
    """Return the tensor with the memory layout it had: kernels round by that order."""
    order = sorted(range(tensor.dim()), key=lambda dim: -stride[dim])
    permuted = tensor.permute(order).contiguous()
    inverse = sorted(range(tensor.dim()), key=lambda dim: order[dim])
    restored = permuted.permute(inverse)
    return restored if restored.stride() == stride else tensor


def _png(image: Image.Image) -> torch.Tensor:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


_CONFIG_FIELD = "_internal_dict"


def capture_state(
    pipeline: SteppedPipeline, random_stream: RandomStream
) -> tuple[dict[str, Any], Tensors]:
    """Return everything that the next step depends on, as JSON trees and their tensors.

    Raises:
        GenerationError: A block keeps a value that no checkpoint can hold.
    """
    block_state = pipeline.block_state
    parts = {
        "values": pipeline.state.values,
        "kwargs": pipeline.state.kwargs_mapping,
        "block": None if block_state is None else vars(block_state),
        "components": dict(_stateful_fields(pipeline.components)),
        "random": random_stream.fields(),
    }
    encoder = TreeEncoder(pipeline.components.components)
    try:
        trees = {name: encoder.encode(part, name) for name, part in parts.items()}
    except UnencodableError as error:
        raise GenerationError(f"the generation cannot be saved: {error}") from None
    return trees, encoder.tensors


def restore_state(
    pipeline: SteppedPipeline,
    random_stream: RandomStream,
    trees: Mapping[str, Any],
    tensors: Tensors,
    device: torch.device,
) -> None:
    """Give a new pipeline and its random numbers the state that `capture_state` returned.

    Raises:
        KeyError: The trees name an unknown tensor or component.
    """
    components = pipeline.components.components
    decoder = TreeDecoder(tensors, components, device)
    for name, fields in decoder.decode(trees["components"]).items():
        vars(components[name]).update(fields)
    pipeline.load_state(
        decoder.decode(trees["values"]),
        decoder.decode(trees["kwargs"]),
        decoder.decode(trees["block"]),
    )
    random_stream.restore(decoder.decode(trees["random"]))


def _stateful_fields(components: ModularPipeline) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each component that keeps state per request, with its fields."""
    for name, component in components.components.items():
        if isinstance(component, ConfigMixin) and not isinstance(component, nn.Module):
            fields = vars(component)
            yield name, {key: fields[key] for key in fields if key != _CONFIG_FIELD}
