// The official TypeScript clients go through a scenario: scenario.mjs sdk|client PLAN. Prints one JSON line per feature
// and target; the plan is told in `tests/it/matrix.rs`. Packages are found in the working directory, the cache's `node`.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.cwd()}/scenario.mjs`);
const load = name => import(pathToFileURL(require.resolve(name)).href);
/** Longest wait for one step in milliseconds, only for what hangs. */
const PATIENCE = 180_000;
/** The same for one request of a client. */
const patient = { timeout: PATIENCE };
const ANSWER = 'matrix';
const INFO = { name: 'vmcp-tests', version: '1' };
const CAPABILITIES = { elicitation: {}, sampling: {}, roots: {} };

const answers = {
  elicit: request => {
    const keys = Object.keys(request.params.requestedSchema.properties);
    return { action: 'accept', content: { [keys.includes('answer') ? 'answer' : 'name']: ANSWER } };
  },
  sample: () => ({ role: 'assistant', content: { type: 'text', text: ANSWER }, model: 'none' }),
  roots: () => ({ roots: [{ uri: `file:///${ANSWER}` }] }),
};

/** `@modelcontextprotocol/sdk`: legacy revisions alone. */
async function sdk() {
  const [client, http, sse, stdio, types] = await Promise.all(
    ['client/index.js', 'client/streamableHttp.js', 'client/sse.js', 'client/stdio.js', 'types.js'].map(path =>
      load(`@modelcontextprotocol/sdk/${path}`),
    ),
  );
  return {
    http: url => new http.StreamableHTTPClientTransport(url),
    sse: url => new sse.SSEClientTransport(url),
    stdio: parameters => new stdio.StdioClientTransport(parameters),
    open: hear => {
      const one = new client.Client(INFO, { capabilities: CAPABILITIES });
      one.setRequestHandler(types.ElicitRequestSchema, answers.elicit);
      one.setRequestHandler(types.CreateMessageRequestSchema, answers.sample);
      one.setRequestHandler(types.ListRootsRequestSchema, answers.roots);
      one.setNotificationHandler(types.ResourceUpdatedNotificationSchema, hear);
      return one;
    },
    call: (one, params, options) => one.callTool(params, undefined, { ...patient, ...options }),
    subscribe: (one, uri) => one.subscribeResource({ uri }, patient),
  };
}

/** `@modelcontextprotocol/client`: both eras, by what the server says. */
async function client() {
  const [next, stdio] = await Promise.all([
    load('@modelcontextprotocol/client'),
    load('@modelcontextprotocol/client/stdio'),
  ]);
  return {
    http: url => new next.StreamableHTTPClientTransport(url),
    sse: url => new next.SSEClientTransport(url),
    stdio: parameters => new stdio.StdioClientTransport(parameters),
    open: hear => {
      const one = new next.Client(INFO, { capabilities: CAPABILITIES, versionNegotiation: { mode: 'auto' } });
      one.setRequestHandler('elicitation/create', answers.elicit);
      one.setRequestHandler('sampling/createMessage', answers.sample);
      one.setRequestHandler('roots/list', answers.roots);
      one.setNotificationHandler('notifications/resources/updated', hear);
      return one;
    },
    call: (one, params, options) => one.callTool(params, { ...patient, ...options }),
    subscribe: (one, uri) =>
      one.getNegotiatedProtocolVersion() >= '2026-07-28'
        ? one.listen({ resourceSubscriptions: [uri] })
        : one.subscribeResource({ uri }, patient),
  };
}

/** One client at one target. */
class Scenario {
  constructor(library, target) {
    Object.assign(this, { library, target, updated: new Set() });
  }

  transport() {
    const { url, sse, command, env } = this.target.connect;
    if (url) return this.library.http(new URL(url));
    if (sse) return this.library.sse(new URL(sse));
    return this.library.stdio({ command: command[0], args: command.slice(1), env, stderr: 'ignore' });
  }

  async run() {
    const one = this.library.open(message => void this.updated.add(message.params.uri));
    try {
      await inTime(one.connect(this.transport(), patient));
    } catch (error) {
      return this.tell('connect', false, describe(error));
    }
    for (const step of this.target.steps) {
      try {
        this.tell(step.feature, ...(await inTime(features[step.feature](this, one, step))));
      } catch (error) {
        this.tell(step.feature, false, describe(error));
      }
    }
    await inTime(one.close()).catch(() => {});
  }

  tell(feature, ok, detail) {
    const { name: target, via } = this.target;
    console.log(JSON.stringify({ target, via, feature, ok, detail: detail.slice(0, 300) }));
  }

  async call(one, step, options) {
    const params = { name: this.target.prefix + step.tool, arguments: step.arguments };
    const { content } = await this.library.call(one, params, options);
    return content.map(part => part.text ?? '').join(' ');
  }
}

async function called(scenario, one, step) {
  const text = await scenario.call(one, step);
  return [text.includes(step.contains), text];
}

const features = {
  call: called,
  elicitation: called,
  sampling: called,
  roots: called,
  async list(scenario, one, step) {
    const names = new Set();
    let cursor;
    do {
      const page = await one.listTools(cursor ? { cursor } : undefined, patient);
      page.tools.forEach(tool => names.add(tool.name));
      cursor = page.nextCursor;
    } while (cursor);
    const missing = step.tools.filter(name => !names.has(scenario.target.prefix + name));
    return [missing.length === 0, missing.length ? `missing ${missing}` : `${names.size} tools`];
  },
  async progress(scenario, one, step) {
    const seen = [];
    await scenario.call(one, step, { onprogress: ({ progress }) => seen.push(progress) });
    // The newer client adds progress of its own for each question that it answers in between, so the order says nothing.
    return [new Set(seen).size >= 2, `progress ${seen}`];
  },
  async cancellation(scenario, one, step) {
    const cancel = new AbortController();
    // Progress shows that the call is under way.
    const onprogress = () => cancel.abort('not wanted any more');
    const outcome = await scenario.call(one, step, { signal: cancel.signal, onprogress }).then(
      () => 'ended',
      () => 'failed',
    );
    if (outcome === 'ended' || !cancel.signal.aborted) return [false, 'the call ended before it was cancelled'];
    return called(scenario, one, step.then);
  },
  async subscription(scenario, one, step) {
    await scenario.library.subscribe(one, step.uri);
    await scenario.call(one, step.touch);
    while (!scenario.updated.has(step.uri)) await sleep(20);
    return [true, step.uri];
  },
};

const sleep = time => new Promise(resolve => setTimeout(resolve, time));

function inTime(work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('timed out')), PATIENCE);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

const describe = error => String(error?.message ?? error);

const library = await { sdk, client }[process.argv[2]]();
const { targets } = JSON.parse(await readFile(process.argv[3], 'utf8'));
await Promise.all(targets.map(target => new Scenario(library, target).run()));
process.exit(0);
