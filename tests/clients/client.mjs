// The official TypeScript clients: client.mjs URL TOOL. Prints one JSON line per client and mode.
// Packages are found in the working directory, which is the cache's `node` folder.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.cwd()}/client.mjs`);
const load = name => import(pathToFileURL(require.resolve(name)).href);
const [url, tool] = process.argv.slice(2);

async function use(mode, client, transport) {
  await client.connect(transport);
  const { tools } = await client.listTools();
  const reply = await client.callTool({ name: tool, arguments: { message: 'hello' } });
  const version = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion;
  console.log(JSON.stringify({ mode, version, tools: tools.map(one => one.name), text: reply.content[0].text }));
  await client.close();
}

const info = { name: 'vmcp-tests', version: '1' };
const sdk = await load('@modelcontextprotocol/sdk/client/index.js');
const sdkHttp = await load('@modelcontextprotocol/sdk/client/streamableHttp.js');
await use('sdk', new sdk.Client(info), new sdkHttp.StreamableHTTPClientTransport(new URL(url)));

const next = await load('@modelcontextprotocol/client');
const transport = () => new next.StreamableHTTPClientTransport(new URL(url));
await use('client', new next.Client(info), transport());
await use('client auto', new next.Client(info, { versionNegotiation: { mode: 'auto' } }), transport());
process.exit(0);
