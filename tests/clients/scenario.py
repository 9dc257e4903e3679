"""The official Python client goes through a scenario: scenario.py MODE PLAN. Prints one JSON line per feature and target.

The plan names targets, each reached through the host or directly, and the steps to take there; see `tests/it/matrix.rs`.
"""

import json
import sys
import warnings
from contextlib import asynccontextmanager

import anyio
import mcp_types as types
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters

warnings.simplefilter("ignore")
# Longest wait in seconds for one step, and for all of them with the connection; only for what hangs.
PATIENCE = 180
ALL_PATIENCE = 500
ANSWER = "matrix"


class Scenario:
    """One client at one target."""

    def __init__(self, mode: str, target: dict) -> None:
        self.mode = mode
        self.target = target
        self.updated: set[str] = set()

    @asynccontextmanager
    async def connect(self):
        where = self.target["connect"]
        if "url" in where:
            server = where["url"]
        elif "sse" in where:
            server = sse_client(where["sse"])
        else:
            command, *args = where["command"]
            server = StdioServerParameters(command=command, args=args, env=where["env"])
        async with Client(
            server,
            mode=self.mode,
            elicitation_callback=self.elicit,
            sampling_callback=self.sample,
            list_roots_callback=self.roots,
            message_handler=self.hear,
        ) as client:
            yield client

    async def elicit(self, _context, params) -> types.ElicitResult:
        keys = params.requested_schema["properties"]
        return types.ElicitResult(action="accept", content={("answer" if "answer" in keys else "name"): ANSWER})

    async def sample(self, _context, _params) -> types.CreateMessageResult:
        return types.CreateMessageResult(role="assistant", content=types.TextContent(text=ANSWER), model="none")

    async def roots(self, _context) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=f"file:///{ANSWER}")])

    async def hear(self, message) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            self.updated.add(str(message.params.uri))

    async def run(self) -> None:
        try:
            with anyio.fail_after(ALL_PATIENCE):
                async with self.connect() as client:
                    for step in self.target["steps"]:
                        await self.take(client, step)
        except BaseException as error:
            self.tell("connect", False, describe(error))
            if not isinstance(error, (Exception, BaseExceptionGroup)):
                raise

    async def take(self, client: Client, step: dict) -> None:
        try:
            with anyio.fail_after(PATIENCE):
                self.tell(step["feature"], *await FEATURES[step["feature"]](self, client, step))
        except Exception as error:
            self.tell(step["feature"], False, describe(error))

    def tell(self, feature: str, ok: bool, detail: str) -> None:
        line = {"target": self.target["name"], "via": self.target["via"], "feature": feature, "ok": ok, "detail": detail}
        print(json.dumps(line), flush=True)

    def tool(self, step: dict) -> str:
        return self.target["prefix"] + step["tool"]

    async def call(self, client: Client, step: dict, **options) -> str:
        result = await client.call_tool(self.tool(step), step["arguments"], **options)
        return " ".join(getattr(one, "text", "") for one in result.content)

    async def list(self, client: Client, step: dict) -> tuple[bool, str]:
        names, cursor = set(), None
        while True:
            page = await client.list_tools(cursor=cursor)
            names |= {one.name for one in page.tools}
            cursor = page.next_cursor
            if cursor is None:
                break
        missing = [name for name in step["tools"] if self.target["prefix"] + name not in names]
        return not missing, f"missing {missing}" if missing else f"{len(names)} tools"

    async def called(self, client: Client, step: dict) -> tuple[bool, str]:
        text = await self.call(client, step)
        return step["contains"] in text, text

    async def progress(self, client: Client, step: dict) -> tuple[bool, str]:
        seen = []

        async def on_progress(progress: float, total: float | None, _message: str | None) -> None:
            seen.append(progress)

        await self.call(client, step, progress_callback=on_progress)
        return len(set(seen)) >= 2, f"progress {seen}"

    async def cancellation(self, client: Client, step: dict) -> tuple[bool, str]:
        with anyio.CancelScope() as scope:

            async def on_progress(*_: object) -> None:
                # The call is under way.
                scope.cancel()

            await self.call(client, step, progress_callback=on_progress)
        if not scope.cancelled_caught:
            return False, "the call ended before it was cancelled"
        text = await self.call(client, step["then"])
        return step["then"]["contains"] in text, text

    async def subscription(self, client: Client, step: dict) -> tuple[bool, str]:
        uri = step["uri"]
        if client.protocol_version >= "2026-07-28":
            async with client.listen(resource_subscriptions=[uri]) as events:
                await self.call(client, step["touch"])
                async for event in events:
                    return str(event.uri) == uri, repr(event)
                return False, "the stream ended"
        await client.subscribe_resource(uri)
        await self.call(client, step["touch"])
        while uri not in self.updated:
            await anyio.sleep(0.02)
        return True, uri


FEATURES = {
    "list": Scenario.list,
    "call": Scenario.called,
    "progress": Scenario.progress,
    "cancellation": Scenario.cancellation,
    "elicitation": Scenario.called,
    "sampling": Scenario.called,
    "roots": Scenario.called,
    "subscription": Scenario.subscription,
}


def describe(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:300]


async def main() -> None:
    mode = sys.argv[1]
    with open(sys.argv[2]) as file:
        plan = json.load(file)
    async with anyio.create_task_group() as group:
        for target in plan["targets"]:
            group.start_soon(Scenario(mode, target).run)


anyio.run(main)
