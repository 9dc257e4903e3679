"""The official Python client calls a tool that asks: asked.py URL TOOL MODE.

Prints one JSON line per question, answers all of them once a line comes on stdin, and prints a last line with the result.
"""

import asyncio
import json
import sys
import threading

from mcp.client.client import Client
from mcp_types import ElicitResult


async def main(url: str, tool: str, mode: str) -> None:
    is_told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_line() -> None:
        sys.stdin.readline()
        loop.call_soon_threadsafe(is_told.set)

    # A client that fails ends without that line.
    threading.Thread(target=wait_for_line, daemon=True).start()

    async def answer(_context, params) -> ElicitResult:
        print(json.dumps({"asked": params.message}), flush=True)
        await is_told.wait()
        return ElicitResult(action="accept", content={"why": "it is time"})

    async with Client(url, mode=mode, elicitation_callback=answer) as client:
        reply = await client.call_tool(tool, {})
        text = [one.text for one in reply.content]
        print(json.dumps({"version": str(client.protocol_version), "isError": reply.is_error, "text": text}), flush=True)


asyncio.run(main(*sys.argv[1:]))
