// How the pages are served: small, cached, quick, and of no use to other sites.
import { createServer, request } from 'node:http';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { expect, kDesktop, test } from './fixtures.js';
import { eventually } from './server.js';

// Bytes as they are on the wire.
function raw(url, headers = {}) {
  return new Promise((done, failed) => {
    request(url, { headers }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('end', () =>
        done({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks) }),
      );
    })
      .on('error', failed)
      .end();
  });
}

const kPages = ['/', '/shop/demo'];
const kWeightMax = 150_000;

function assetsOf(html) {
  return [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, path]) => path);
}

test('a page weighs less than 150 kB compressed, with all that it loads', async ({ server }) => {
  for (const path of kPages) {
    const page = await raw(server.url + path, { 'Accept-Encoding': 'gzip' });
    expect(page.status).toBe(200);
    expect(page.headers['content-encoding']).toBe('gzip');
    let weight = page.body.length;
    const html = gunzipSync(page.body).toString();
    expect(html).not.toMatch(/<script(?![^>]*src=)|<style|style=|onload=/);
    expect(assetsOf(html).length).toBeGreaterThan(1);
    for (const asset of assetsOf(html)) {
      const loaded = await raw(server.url + asset, { 'Accept-Encoding': 'gzip' });
      expect(loaded.status, asset).toBe(200);
      weight += loaded.body.length;
      for (const part of gunzipSafe(loaded).matchAll(/from"\.\/([^"]+)"/g)) {
        expect(html).toContain(part[1]); // chunks are named in the page: no second round trip
      }
    }
    console.log(`${path}: ${weight} bytes`);
    expect(weight).toBeLessThan(kWeightMax);
  }
});

function gunzipSafe({ headers, body }) {
  return (headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString();
}

test('every coding holds the same bytes', async ({ server }) => {
  const html = (await raw(`${server.url}/`)).body.toString();
  for (const path of ['/', '/shop/demo', ...assetsOf(html)]) {
    const plain = await raw(server.url + path);
    expect(plain.headers['content-encoding']).toBeUndefined();
    expect(plain.headers.vary).toBe('Accept-Encoding');
    const br = await raw(server.url + path, { 'Accept-Encoding': 'gzip, deflate, br' });
    const same = br.headers['content-encoding'] === 'br' ? brotliDecompressSync(br.body) : br.body;
    expect(same.equals(plain.body)).toBe(true);
    expect(br.headers['content-type']).toBe(plain.headers['content-type']);
  }
});

test('pages are asked for again, assets are kept', async ({ server }) => {
  const page = await raw(`${server.url}/`);
  expect(page.headers['cache-control']).toBe('no-cache');
  const again = await raw(`${server.url}/`, { 'If-None-Match': page.headers.etag });
  expect(again.status).toBe(304);
  expect(again.body.length).toBe(0);
  const [asset] = assetsOf(page.body.toString());
  const kept = await raw(server.url + asset);
  expect(kept.headers['cache-control']).toContain('immutable');
  expect((await raw(`${server.url}/assets/nothing.js`)).status).toBe(404);
});

test('the security headers are there', async ({ server }) => {
  for (const path of kPages) {
    const { headers } = await raw(server.url + path);
    const policy = headers['content-security-policy'];
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toContain('unsafe');
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(headers['x-frame-options']).toBe('DENY');
    expect(headers['referrer-policy']).toBe('no-referrer');
  }
});

test('the first paint is there within a second', async ({ server, page }) => {
  await server.createSale({ id: 'demo', stock: 5 });
  for (const path of kPages) {
    const paints = [];
    for (let i = 0; i < 3; i += 1) {
      await page.goto(server.url + path);
      const paint = await eventually(
        () =>
          page.evaluate(
            () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0,
          ),
        'something is painted',
      );
      paints.push(paint);
    }
    console.log(`${path}: first paint after ${paints.map(Math.round).join(', ')} ms`);
    expect(Math.min(...paints)).toBeLessThan(1_000); // the quickest: the machine is shared
  }
});

test.describe('another site', () => {
  test.use({ allowedErrors: ['Failed to load resource', 'blocked', 'Refused', 'violates'] });

  test('cannot drive the admin API, nor show the console in a frame', async ({ server, page }) => {
    await server.createSale({ id: 'target', stock: 5 });
    const evil = createServer((_, answer) => {
      answer.setHeader('Content-Type', 'text/html');
      answer.end('<!doctype html><title>evil</title><body></body>');
    });
    await new Promise((done) => evil.listen(0, '127.0.0.1', done));
    try {
      await page.goto(`http://127.0.0.1:${evil.address().port}/`);
      const results = await page.evaluate(async (url) => {
        const tries = [
          ['/v1/sales/target/close', { method: 'POST', mode: 'no-cors' }],
          ['/v1/sales/target/stock', { method: 'POST', mode: 'no-cors', body: '{"add":1}' }],
          ['/v1/sales/target/stock', { method: 'POST', body: '{"add":1}' }],
          ['/v1/sales/target', { method: 'PATCH', body: '{"state":"paused"}' }],
          ['/v1/sales', { method: 'GET' }],
          ['/v1/admin/events', { method: 'GET' }],
        ];
        const read = [];
        for (const [path, options] of tries) {
          try {
            const answer = await fetch(url + path, options);
            read.push(answer.type === 'opaque' ? 'opaque' : answer.status);
          } catch {
            read.push('blocked');
          }
        }
        const form = document.createElement('form');
        form.method = 'POST';
        form.action = `${url}/v1/sales/target/close`;
        form.target = 'hidden';
        const frame = document.createElement('iframe');
        frame.name = 'hidden';
        const shown = document.createElement('iframe');
        shown.src = `${url}/`;
        document.body.append(frame, form, shown);
        form.submit();
        await new Promise((done) => setTimeout(done, 1_500)); // poll: nothing comes that could be
        return read;
      }, server.url);
      expect(results).toEqual(['opaque', 'opaque', 'blocked', 'blocked', 'blocked', 'blocked']);
      const sale = await server.call('GET', '/v1/sales/target');
      expect(sale.body).toMatchObject({ state: 'open', stock: 5 });
      const framed = page.frames().find((frame) => frame.url().startsWith(server.url));
      const text = framed
        ? await framed
            .locator('body')
            .innerText()
            .catch(() => '')
        : '';
      expect(text).not.toContain('New sale');
    } finally {
      evil.close();
    }
  });
});

test('a hundred consoles share what is counted once', async ({ server, page }) => {
  await page.setViewportSize(kDesktop);
  await server.createSale({ id: 'watched', stock: 2_000 });
  const abort = new AbortController();
  const readers = [];
  for (let i = 0; i < 100; i += 1) {
    readers.push(
      fetch(`${server.url}/v1/admin/events?sale=watched`, { signal: abort.signal }).then(
        async ({ status, body }) => {
          let text = '';
          const decoder = new TextDecoder();
          try {
            for await (const chunk of body) text += decoder.decode(chunk, { stream: true });
          } catch {
            // Aborted: that is the end.
          }
          return { status, text };
        },
      ),
    );
  }
  await page.goto(`${server.url}/#watched`);
  await expect(page.getByText('Consoles open')).toBeVisible();
  const result = await server.rush('watched', 5_000);
  expect(result.accepted).toBe(2_000);
  await expect.poll(() => page.getByTestId('remaining').innerText()).toBe('0');
  abort.abort();
  const seen = await Promise.all(readers);
  for (const { status, text } of seen) {
    expect(status).toBe(200);
    expect(text).toContain('"accepted":2000');
  }
});
