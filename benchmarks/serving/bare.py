"""The limit of HTTP: uvicorn and FastAPI as our service uses them, and a route that does nothing but answer.

It looks at no body and has its picture ready. Run by ``__main__.py``: ``python -m benchmarks.serving.bare PORT FILE``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.responses import Response


def main() -> None:
    app, picture = FastAPI(), Path(sys.argv[2]).read_bytes()

    @app.post("/generate")
    async def generate() -> Response:
        return Response(picture, media_type="image/png")

    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False,
        backlog=2048, timeout_keep_alive=75,
    )  # fmt: skip


if __name__ == "__main__":
    main()
