"""One way to drive both clients."""

from __future__ import annotations

import asyncio
from typing import Any

from emoface.client import AsyncClient, Client


class Both:
    """A client whose methods are called as :class:`Client`'s; ``mode`` says which one answers, sync or async."""

    def __init__(self, mode: str, url: str, **settings: Any) -> None:
        self._mode = mode
        self._given = (url, settings)

    def __getattr__(self, name: str) -> Any:
        url, settings = self._given

        def sync_call(*arguments: Any, **options: Any) -> Any:
            with Client(url, **settings) as client:
                return getattr(client, name)(*arguments, **options)

        def async_call(*arguments: Any, **options: Any) -> Any:
            async def run() -> Any:
                async with AsyncClient(url, **settings) as client:
                    return await getattr(client, name)(*arguments, **options)

            return asyncio.run(run())

        return {"sync": sync_call, "async": async_call}[self._mode]
