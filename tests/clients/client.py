"""The official Python client in its three modes: client.py URL TOOL. Prints one JSON line per mode."""

import asyncio
import json
import sys

from mcp.client.client import Client


async def use(url: str, tool: str, mode: str) -> dict:
    async with Client(url, mode=mode) as client:
        tools = await client.list_tools()
        reply = await client.call_tool(tool, {"message": "hello"})
        return {
            "version": str(getattr(client, "protocol_version", "")),
            "tools": [one.name for one in tools.tools],
            "text": reply.content[0].text,
        }


async def main() -> None:
    for mode in ("legacy", "auto", "2026-07-28"):
        print(json.dumps({"mode": mode} | await use(sys.argv[1], sys.argv[2], mode)))


asyncio.run(main())
