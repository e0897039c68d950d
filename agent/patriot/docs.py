"""`/docs`: the API's description as one page, made on the box from `/openapi.json` itself; nothing is fetched from
elsewhere, since a site box often has no way out. One curl line, each field and each answer per call.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader

from agent import __version__
from agent.patriot.schema import MAX_CLIENT_ID

TITLE: dict[str, Any] = {
    "title": "Varde · Patriot client API",
    "version": __version__,
    "summary": "Register clients, their zones and users with the monitoring centre's Patriot.",
    "description": (
        "Every request carries `Authorization: Bearer <API_KEY>`. Each key has a data set of its own. A change is "
        "durable before it is answered, goes to the central office with the next hourly batch, and its result is read "
        "with `GET /clients/import`."
    ),
}
_VALUE = '"?"'
_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"}


def install(app: FastAPI) -> None:
    """Add the page, and the key to the description."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        scheme = {"type": "http", "scheme": "bearer", "description": "Your API key, from the operator of this box."}
        document["components"]["securitySchemes"] = {"api_key": scheme}
        document["security"] = [{"api_key": []}]
        _whole_limits(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's own manual does it
    template = Environment(loader=PackageLoader("agent.patriot", "."), autoescape=True, trim_blocks=True).get_template(
        "docs.html"
    )

    async def page(request: Request) -> Response:
        document = app.openapi()
        base = str(request.base_url).rstrip("/")
        html = template.render(document=document, groups=_groups(document), base=base)
        return HTMLResponse(html, headers=_HEADERS)

    app.add_route("/docs", page, methods=["GET"], include_in_schema=False)


def _whole_limits(node: Any) -> None:
    """FastAPI writes limits as floating point, in which the largest client id is not itself any more."""
    if isinstance(node, dict):
        for name in ("minimum", "maximum"):
            if isinstance(node.get(name), float):
                node[name] = min(int(node[name]), MAX_CLIENT_ID)
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _whole_limits(inner)


def _groups(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The calls by tag, each as the template shows it."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_call(document, path, method.upper(), operation))
    return groups


def _call(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    body = _schema(document, operation.get("requestBody"))
    return {
        "anchor": f"{method}{path}".replace("/", "-").lower(),
        "method": method,
        "path": path,
        "text": operation["description"],
        "headers": [
            {"name": parameter["name"], **_limits(document, parameter["schema"], required=True)}
            | {"text": parameter.get("description", "")}
            for parameter in operation.get("parameters", ())
        ],
        "curl_headers": [
            f"{parameter['name']}: {_example(document, parameter['schema'], parameter)}"
            for parameter in operation.get("parameters", ())
        ],
        "body": json.dumps(_example(document, body), ensure_ascii=False, indent=2) if body else None,
        "fields": list(_fields(document, body)) if body else [],
        "answers": [_answer(document, status, answer) for status, answer in sorted(operation["responses"].items())],
    }


def _answer(document: Mapping[str, Any], status: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    schema = _schema(document, answer)
    shown = schema is not None and status < "300"
    return {
        "status": status,
        "text": answer["description"],
        "headers": list(answer.get("headers", ())),
        "example": json.dumps(_example(document, schema), ensure_ascii=False, indent=2) if shown else None,
    }


def _schema(document: Mapping[str, Any], carrier: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    schema: Mapping[str, Any] | None = (carrier or {}).get("content", {}).get("application/json", {}).get("schema")
    return _resolved(document, schema) if schema else None


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        found: Mapping[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return found
    return schema


def _fields(document: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> Iterator[dict[str, Any]]:
    for name, field in schema.get("properties", {}).items():
        inner = _resolved(document, field)
        if "properties" in inner:
            yield from _fields(document, inner, f"{prefix}{name}.")
        else:
            required = name in schema.get("required", ())
            yield {"name": prefix + name, "text": field.get("description", "")} | _limits(
                document, field, required=required
            )


def _limits(document: Mapping[str, Any], field: Mapping[str, Any], *, required: bool) -> dict[str, str]:
    return {
        "type": " or ".join(_type(option) for option in field.get("anyOf", (field,))),
        "default": "required" if required else json.dumps(field["default"]) if "default" in field else "none",
    }


def _type(field: Mapping[str, Any]) -> str:
    if "const" in field:
        return json.dumps(field["const"])
    words = {"string": "text", "boolean": "true or false"}
    text: str = words.get(field.get("type", ""), field.get("type", ""))
    if "maxLength" in field:
        text += f", {field.get('minLength', 0)}–{field['maxLength']} characters"
    elif "pattern" in field:
        text += ", ISO 8601"
    if "maximum" in field:
        text += f" {field['minimum']}–{field['maximum']}"
    return text


def _example(document: Mapping[str, Any], schema: Any, carrier: Mapping[str, Any] | None = None) -> Any:
    """The example that the description gives, put together for a whole body."""
    for place in (carrier or {}, schema):
        if place.get("examples"):
            return place["examples"][0]
    schema = _resolved(document, schema)
    if "properties" in schema:
        return {name: _example(document, field) for name, field in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_example(document, schema["items"])]
    return schema.get("default", _VALUE)
