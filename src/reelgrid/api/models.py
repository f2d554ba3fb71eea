"""The models resource: the models of this server and their capabilities."""

import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from reelgrid.api import openapi, schemas
from reelgrid.api.auth import CallerHere
from reelgrid.api.service import Service, ServiceHere
from reelgrid.catalog import ModelCard

router = APIRouter(prefix="/v1/models", tags=["models"])
STARTED = int(time.time())
"""The field `created`: when this server started."""


@router.get("", **openapi.route(schemas.ModelList))
def list_models(service: ServiceHere, caller: CallerHere) -> JSONResponse:
    """List the models; the first is the default."""
    data = [_model(service, card) for card in service.models.cards]
    return JSONResponse({"object": "list", "data": data})


@router.get("/{model:path}", **openapi.route(schemas.Model, missing=True))
def retrieve_model(service: ServiceHere, caller: CallerHere, model: str) -> JSONResponse:
    """Return one model."""
    return JSONResponse(_model(service, service.models.find(model)))


def _model(service: Service, card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "object": "model",
        "created": STARTED,
        "owned_by": (card.repository or "reelgrid").partition("/")[0],
        "licence": card.licence,
        "capabilities": _capabilities(service, card),
    }


def _capabilities(service: Service, card: ModelCard) -> dict[str, Any]:
    allowed = card.allowed_sizes
    most = card.max_frames or max(card.allowed_frames or (service.limits.max_frames,))
    makes = card.output_kinds
    return {
        "kinds": list(makes),
        "sizes": {
            "allowed": None if allowed is None else [str(size) for size in allowed],
            "multiple": card.size_multiple,
            "default": str(card.default.size),
        },
        "frames": card.frames_rule,
        "default_frames": card.default.num_frames,
        "max_frames": min(most, service.limits.max_frames),
        "min_fps": card.min_fps,
        "max_fps": card.max_fps,
        "default_fps": card.default.fps,
        "default_steps": card.default.num_steps,
        "default_guidance_scale": card.default.guidance_scale,
        "first_frame": card.can_first_frame,
        "needs_first_frame": card.needs_first_frame,
        "remix": "video" in makes,
        "extension": "video" in makes and card.can_first_frame,
        "edit": False,
        "characters": False,
        "image_edit": False,
        "image_formats": ["png", "webp", "jpeg"] if "image" in makes else [],
        "memory_gib": card.memory_gib,
    }
