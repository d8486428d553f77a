// One doorbuster process on a port and a data folder of its own, and its command line.
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const kBinary = resolve(process.env.DOORBUSTER_BIN ?? '../../build/release/doorbuster');
const kScratch = resolve(process.env.DOORBUSTER_WEB_SCRATCH ?? '../../build/web-tests');
const run = promisify(execFile);

// What the tests' own environment holds is not for the server.
function environment(settings) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('DOORBUSTER_'));
  const given = Object.entries(settings).map(([name, value]) => [
    `DOORBUSTER_${name.toUpperCase().replace('.', '_')}`,
    String(value),
  ]);
  return Object.fromEntries([...kept, ...given]);
}

function freePort() {
  return new Promise((done, failed) => {
    const probe = createServer();
    probe.on('error', failed);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Polls until `look` returns something that is true.
export async function eventually(look, what, boundMs = 60_000) {
  const until = Date.now() + boundMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > until) throw new Error(`not within ${boundMs} ms: ${what}`);
    await pause(50); // poll: `look` says when
  }
}

export class Server {
  constructor(port, folder, settings) {
    this.port = port;
    this.folder = folder;
    this.settings = settings;
    this.token = settings['admin.token'];
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(settings = {}) {
    mkdirSync(kScratch, { recursive: true });
    const folder = mkdtempSync(join(kScratch, 'server-'));
    const server = new Server(await freePort(), folder, settings);
    await server.start();
    return server;
  }

  async start() {
    const log = openSync(join(this.folder, 'server.log'), 'a');
    const listen = `127.0.0.1:${this.port}`;
    this.process = spawn(
      kBinary,
      ['serve', '--listen', listen, '--data', join(this.folder, 'data')],
      { env: environment(this.settings), stdio: ['ignore', log, log] },
    );
    this.ended = new Promise((done) => this.process.on('exit', done));
    await eventually(async () => {
      if (this.process.exitCode !== null) throw new Error(this.log());
      return fetch(`${this.url}/readyz`).then(
        (answer) => answer.ok,
        () => false,
      );
    }, 'the server is ready');
  }

  async stop() {
    if (this.process.exitCode === null) this.process.kill('SIGTERM');
    await this.ended;
  }

  async remove() {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  log() {
    return readFileSync(join(this.folder, 'server.log'), 'utf8');
  }

  async call(method, path, body, headers = {}) {
    const answer = await fetch(this.url + path, {
      method,
      headers: {
        ...(this.token && { Authorization: `Bearer ${this.token}` }),
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json(), headers: answer.headers };
  }

  async createSale(sale) {
    const made = await this.call('POST', '/v1/sales', { title: sale.id, ...sale });
    if (made.status !== 201) throw new Error(JSON.stringify(made.body));
    return made.body;
  }

  orders(sale, query = '') {
    return this.call('GET', `/v1/sales/${sale}/orders${query}`).then(({ body }) => body.items);
  }

  audit(sale) {
    return this.call('GET', `/v1/sales/${sale}/audit`).then(({ body }) => body);
  }

  // One metric's value: metric('doorbuster_orders', { sale: 'demo', status: 'paid' }).
  async metric(name, labels = {}) {
    const page = await fetch(`${this.url}/metrics`).then((answer) => answer.text());
    const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
    const line = page
      .split('\n')
      .find(
        (each) =>
          (each.startsWith(`${name}{`) || each.startsWith(`${name} `)) &&
          wanted.every((label) => each.includes(label)),
      );
    return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ') + 1));
  }

  // What a command prints.
  async command(...given) {
    const { stdout } = await run(kBinary, [...given, '--url', this.url], { env: environment({}) });
    return stdout;
  }

  // A rush; its result as `load --json` has it.
  async rush(sale, buyers, ...more) {
    const { stdout } = await run(
      kBinary,
      ['load', '--url', this.url, '--sale', sale, '--buyers', String(buyers), '--json', ...more],
      { env: environment({}), maxBuffer: 1 << 24 },
    );
    return JSON.parse(stdout);
  }
}
