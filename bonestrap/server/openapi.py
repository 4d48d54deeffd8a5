"""What `/openapi.json` says of requests and answers, which are read and written by hand for speed."""

from __future__ import annotations

from typing import Any

from bonestrap.server.reading import JSON, NPY

JOINTS = {
    "description": "frames x bodies x joints x numbers as recorded; null for a number, joint, body or frame not there",
    "type": "array",
    "items": {"type": "array", "nullable": True, "items": {"type": "array", "nullable": True, "items": {}}},
}
FIELDS: dict[str, Any] = {
    "joints": JOINTS,
    "recordings": {"description": "several recordings in place of joints", "type": "array", "items": JOINTS},
    "model": {"description": "a name of GET /models; the first one by default", "type": "string"},
}
ASKED: dict[str, Any] = {
    "top_k": {"description": "how many classes are answered", "type": "integer", "minimum": 1},
    "texts": {
        "description": "texts that a zero-shot model ranks in place of its classes",
        "type": "array",
        "items": {"type": "string"},
    },
}
CLASS = {"type": "object", "properties": {"class": {"type": "string"}, "probability": {"type": "number"}}}
OF_MODEL: dict[str, Any] = {"model": {"type": "string"}, "version": {"type": "string"}}
ERROR = {
    "type": "object",
    "properties": {
        "error": {"type": "object", "properties": {"field": {"type": "string"}, "message": {"type": "string"}}}
    },
}
ERRORS = {
    400: "not JSON, or not an .npy file",
    401: "no token that the server knows",
    404: "no model of this name",
    408: "the body took too long",
    413: "more than the server allows",
    415: "another content type",
    422: "a field that is wrong, which the message names",
    429: "more requests than the client may send: see Retry-After",
    503: "too many recordings wait: see Retry-After",
}


def _body(fields: dict[str, Any]) -> dict[str, Any]:
    content = {
        JSON: {"schema": {"type": "object", "properties": fields, "additionalProperties": False}},
        NPY[0]: {"schema": {"type": "string", "format": "binary"}},
    }
    return {"requestBody": {"required": True, "content": content}}


def _answers(properties: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    found = {"type": "object", "properties": {**OF_MODEL, **properties}}
    good = {"description": "one entry a recording", "content": {JSON: {"schema": found}}}
    bad: dict[int | str, dict[str, Any]] = {
        status: {"description": said, "content": {JSON: {"schema": ERROR}}} for status, said in ERRORS.items()
    }
    return {200: good, **bad}


PREDICT = _body({**FIELDS, **ASKED})
PREDICTED = _answers({"predictions": {"type": "array", "items": {"type": "array", "items": CLASS}}})
EMBED = _body(FIELDS)
EMBEDDED = _answers({"features": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}})
