// The console: an operator runs a sale, and what the page shows is what the server counts.
import { expect, expectAccessible, kDesktop, kPhone, number, picture, test } from './fixtures.js';
import { eventually } from './server.js';

test.use({ viewport: kDesktop });

const confirm = (page, name) => page.getByRole('dialog').getByRole('button', { name }).click();

// Every figure of the page that /metrics or the audit has, too.
async function expectTrueFigures(server, page, sale) {
  const purchases = (outcome) => server.metric('doorbuster_purchases_total', { sale, outcome });
  const orders = (status) => server.metric('doorbuster_orders', { sale, status });
  await eventually(async () => (await server.metric('doorbuster_log_lag_records')) === 0, 'quiet');
  await page.getByRole('button', { name: /^Audit/ }).click();
  await expect(page.getByTestId('verdict')).toContainText('The books balance.');
  const audit = await server.audit(sale);
  expect(audit.balanced).toBe(true);
  const truth = {
    remaining: await server.metric('doorbuster_stock_remaining', { sale }),
    'outcome-accepted': await purchases('accepted'),
    'outcome-sold_out': await purchases('sold_out'),
    'orders-confirmed': await orders('confirmed'),
    'orders-paid': await orders('paid'),
    'orders-cancelled': await orders('cancelled'),
    'funnel-stored': audit.orders.confirmed + audit.orders.paid + audit.orders.cancelled,
    'funnel-durable': await purchases('accepted'),
    lag: 0,
  };
  expect(truth.remaining).toBe(audit.remaining);
  for (const [id, value] of Object.entries(truth)) {
    await expect.poll(() => number(page, id), { message: id }).toBe(value);
  }
}

test('an operator creates a sale, watches it sell out, restocks, pauses, closes', async ({
  server,
  page,
}, info) => {
  await page.goto(server.url);
  await expect(page.getByTestId('connection')).toHaveText('Live');
  await expectAccessible(page);

  await page.getByRole('button', { name: 'New sale' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Title').fill('Winter shoes');
  await dialog.getByLabel('Units').fill('500');
  await dialog.getByLabel('Minutes to pay').fill('10');
  await expectAccessible(page);
  await dialog.getByRole('button', { name: 'Create winter-shoes' }).click();
  await expect(page.getByTestId('sale-title')).toHaveText('Winter shoes');
  await expect.poll(() => number(page, 'remaining')).toBe(500);

  const rush = server.rush('winter-shoes', 4_000, '--attempts-per-buyer', '3', '--rate', '3000');
  await expect.poll(() => number(page, 'remaining')).toBeLessThan(500);
  await picture(page, info, 'console-rush');
  await page.screenshot({ path: info.outputPath('readme-console-rush.png') });
  const result = await rush;
  expect(result.accepted).toBe(500);
  await expect.poll(() => number(page, 'remaining')).toBe(0);
  await expect(page.getByText('sold out', { exact: true }).first()).toBeVisible();
  await expectTrueFigures(server, page, 'winter-shoes');
  expect(await number(page, 'funnel-attempts')).toBe(result.attempts);
  await expectAccessible(page);
  await picture(page, info, 'console-sold-out');

  await page.getByRole('button', { name: 'Restock', exact: true }).click();
  await expect(dialog).toContainText('“Winter shoes” (winter-shoes)');
  await dialog.getByLabel('Units to add').fill('50');
  await expect(dialog).toContainText('from 500 to 550');
  await confirm(page, 'Add 50 units');
  await expect.poll(() => number(page, 'remaining')).toBe(50);

  // Taken away more than there is: the server's no is shown, and nothing happened.
  await page.getByRole('button', { name: 'Restock', exact: true }).click();
  await dialog.getByLabel('Units to add').fill('-51');
  await confirm(page, 'Take 51 units away');
  await expect(dialog.getByRole('alert')).toContainText('below_sold');
  await dialog.getByRole('button', { name: 'Back' }).click();

  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await expect(dialog).toContainText('“Winter shoes”');
  await confirm(page, 'Pause the sale');
  await expect(page.getByRole('button', { name: 'Resume', exact: true })).toBeVisible();
  const no = await server.call(
    'POST',
    '/v1/sales/winter-shoes/purchases',
    { quantity: 1 },
    {
      'X-User-Id': 'late',
    },
  );
  expect(no.body.code).toBe('paused');

  await page.getByRole('button', { name: 'Resume', exact: true }).click();
  await confirm(page, 'Resume the sale');
  await expect(page.getByRole('button', { name: 'Pause', exact: true })).toBeVisible();
  const yes = await server.call(
    'POST',
    '/v1/sales/winter-shoes/purchases',
    { quantity: 1 },
    {
      'X-User-Id': 'late',
    },
  );
  expect(yes.status).toBe(202);
  await eventually(async () => {
    const paid = await server.call('POST', `/v1/orders/${yes.body.order_id}/pay`, {
      payment_ref: 'p1',
    });
    return paid.status === 200;
  }, 'it is paid');
  await expectTrueFigures(server, page, 'winter-shoes');
  expect(await number(page, 'orders-paid')).toBe(1);

  await page.getByRole('button', { name: 'Close', exact: true }).click();
  await expect(dialog).toContainText('cannot be opened again');
  await confirm(page, 'Close it for good');
  await expect
    .poll(async () => (await server.call('GET', '/v1/sales/winter-shoes')).body.state)
    .toBe('closed');
  const journal = page.getByRole('region', { name: 'Journal entries' });
  for (const what of ['create', 'stock', 'close']) await expect(journal).toContainText(what);
});

test('an operator schedules and extends', async ({ server, page }) => {
  await server.createSale({ id: 'later', stock: 5 });
  await page.goto(`${server.url}/#later`);
  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'Schedule', exact: true }).click();
  await dialog.getByLabel('Opens at').fill('2035-01-02T03:04:05');
  await confirm(page, 'Move the start');
  await expect(page.getByText('scheduled', { exact: true }).first()).toBeVisible();
  await page.getByRole('button', { name: 'Extend', exact: true }).click();
  await dialog.getByLabel('Ends at').fill('2036-01-02T03:04:05');
  await confirm(page, 'Move the end');
  await expect
    .poll(async () => (await server.call('GET', '/v1/sales/later')).body.ends_at)
    .toBe(new Date('2036-01-02T03:04:05').toISOString());
  const { body } = await server.call('GET', '/v1/sales/later');
  expect(body.starts_at).toBe(new Date('2035-01-02T03:04:05').toISOString());
});

test('orders are found by buyer and by id, and exported as the command line does', async ({
  server,
  page,
}) => {
  const users = ['=1+1', 'plain', 'with,comma "quoted"', '<script>alert(1)</script>'];
  await server.createSale({ id: 'found', stock: 50 });
  for (const user of users) {
    await server.call('POST', '/v1/sales/found/purchases', { quantity: 1 }, { 'X-User-Id': user });
  }
  await page.goto(`${server.url}/#found`);
  const search = page.getByRole('search');
  const table = page.getByRole('region', { name: 'Orders found' });
  for (const user of users) {
    await search.getByLabel('Order or buyer').fill(user);
    await search.getByRole('button', { name: 'Search' }).click();
    await expect(table.getByRole('row')).toHaveCount(2);
    await expect(table).toContainText(user);
  }
  const [order] = await server.orders('found');
  await search.getByLabel('Order or buyer').fill(order.order_id);
  await search.getByRole('button', { name: 'Search' }).click();
  await expect(table).toContainText(order.user_id);
  await expectAccessible(page);

  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Export CSV' }).click();
  const chunks = [];
  for await (const chunk of await (await download).createReadStream()) chunks.push(chunk);
  const csv = Buffer.concat(chunks).toString('utf8');
  expect(csv).toBe(await server.command('export', 'orders', '--sale', 'found', '--format', 'csv'));
});

test('a console that opens late shows the whole sale', async ({ server, page }) => {
  await server.createSale({ id: 'past', stock: 200 });
  await server.rush('past', 500);
  await page.goto(`${server.url}/#past`);
  await page.getByRole('button', { name: 'Whole sale' }).click();
  const chart = page.getByRole('img', { name: /^Stock left: 0 of 200 units left/ });
  await expect(chart.locator('canvas')).toBeVisible();
  // The line is drawn: the canvas is not of one colour.
  await expect
    .poll(() =>
      chart.locator('canvas').evaluate((canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const colors = new Set();
        for (let i = 0; i < data.length; i += 4)
          colors.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
        return colors.size;
      }),
    )
    .toBeGreaterThan(5);
});

test('it audits once, when the sale is sold out and somebody looks on', async ({
  server,
  page,
}) => {
  await server.createSale({ id: 'shoes', stock: 100 });
  const audits = [];
  page.on('request', (request) => {
    if (request.url().endsWith('/audit')) audits.push(request.url());
  });
  await page.addInitScript(() => {
    window.isAway = true;
    Object.defineProperty(document, 'hidden', { get: () => window.isAway });
  });
  await page.clock.install();
  await page.goto(`${server.url}/#shoes`);
  await expect.poll(() => number(page, 'remaining')).toBe(100);
  await server.rush('shoes', 300);
  await expect.poll(() => number(page, 'remaining')).toBe(0);
  await page.clock.fastForward(60_000);
  expect(audits).toEqual([]);
  await page.evaluate(() => {
    window.isAway = false;
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await page.clock.fastForward(2_000);
  await expect(page.getByTestId('verdict')).toContainText('The books balance.');
  await page.clock.fastForward(600_000);
  await expect(page.getByTestId('verdict')).toBeVisible();
  expect(audits.length).toBe(1);
});

test('it gives up auditing when the server says no, and says why', async ({ server, page }) => {
  await server.createSale({ id: 'shoes', stock: 1 });
  let audits = 0;
  await page.route('**/audit', (route) => {
    audits += 1;
    const body = JSON.stringify({ code: 'overloaded', title: 'Too much', status: 503 });
    return route.fulfill({ status: 503, contentType: 'application/problem+json', body });
  });
  await page.clock.install();
  await page.goto(`${server.url}/#shoes`);
  await expect.poll(() => number(page, 'remaining')).toBe(1);
  await server.call('POST', '/v1/sales/shoes/close');
  await expect(page.getByText('closed', { exact: true }).first()).toBeVisible();
  for (let minute = 0; minute < 30; minute += 1) await page.clock.runFor(60_000);
  await expect(page.getByRole('alert')).toContainText('Too much (overloaded)');
  expect(audits).toBeGreaterThan(1);
  expect(audits).toBeLessThanOrEqual(6);
});

test('of thousands of sales each is found, with its own figures', async ({ server, page }) => {
  for (let i = 0; i < 1_030; i += 1) await server.createSale({ id: `sale-${i}`, stock: 3 });
  const buy = (user) =>
    server.call('POST', '/v1/sales/sale-7/purchases', { quantity: 1 }, { 'X-User-Id': user });
  expect((await buy('ada')).status).toBe(202);
  await server.stop();
  await server.start();
  await page.goto(`${server.url}/#sale-7`);
  await expect.poll(() => number(page, 'funnel-stored')).toBe(1);
  await expect.poll(() => number(page, 'remaining')).toBe(2);
  expect((await buy('bob')).status).toBe(202);
  await expect.poll(() => number(page, 'funnel-stored')).toBe(2);
  const list = page.getByRole('navigation', { name: 'Sales' });
  await expect(list).toContainText('830 more: find them by name.');
  await list.getByLabel('Find a sale').fill('sale-1021');
  await list.getByRole('link', { name: 'sale-1021' }).click();
  await expect(page.getByTestId('sale-title')).toHaveText('sale-1021');
  await expect.poll(() => number(page, 'remaining')).toBe(3);
});

test('an address of no sale says so', async ({ server, page }) => {
  await server.createSale({ id: 'shoes', stock: 5 });
  await page.goto(`${server.url}/#nothing`);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('There is no such sale');
  await page.getByRole('link', { name: 'shoes' }).click();
  await expect(page.getByTestId('sale-title')).toHaveText('shoes');
  await page.goto('about:blank');
  await page.goto(`${server.url}/#%`);
  await expect(page.getByTestId('sale-title')).toHaveText('shoes');
});

test('a search goes on until something is found, or is stopped', async ({ server, page }) => {
  await server.createSale({ id: 'found', stock: 5 });
  const bought = await server.call(
    'POST',
    '/v1/sales/found/purchases',
    { quantity: 1 },
    { 'X-User-Id': 'ada' },
  );
  expect(bought.status).toBe(202);
  // As the server does it while it looks at many orders: an empty page, and there is more.
  let calls = 0;
  let isEndless = false;
  await page.route('**/v1/sales/found/orders?*', (route) => {
    calls += 1;
    if (calls % 3 === 0 && !isEndless) return route.continue();
    const body = JSON.stringify({ items: [], next_cursor: '0'.repeat(32) });
    return route.fulfill({ status: 200, contentType: 'application/json', body });
  });
  await page.goto(`${server.url}/#found`);
  const search = page.getByRole('search');
  const table = page.getByRole('region', { name: 'Orders found' });
  await search.getByLabel('Order or buyer').fill('ada');
  await search.getByRole('button', { name: 'Search' }).click();
  await expect(table).toContainText('ada');
  expect(calls).toBe(3);
  isEndless = true;
  await search.getByRole('button', { name: 'Search' }).click();
  await expect(page.getByText(/^Searching/)).toBeVisible();
  await page.getByRole('button', { name: 'Stop' }).click();
  await expect(table).toContainText('No order was found so far');
});

test('hostile titles are text', async ({ server, page }) => {
  const title = `<img src=x onerror="alert(1)">'"</script><script>alert(2)</script>`;
  await server.createSale({ id: 'hostile', title, stock: 5 });
  await page.goto(`${server.url}/#hostile`);
  await expect(page.getByTestId('sale-title')).toHaveText(title);
  for (const name of ['Pause', 'Restock', 'Extend', 'Close', 'Schedule']) {
    await page.getByRole('button', { name, exact: true }).click();
    await expect(page.getByRole('dialog')).toContainText(title);
    await page.keyboard.press('Escape');
    await expect(page.getByRole('dialog')).toHaveCount(0);
  }
  await expect(page.getByRole('navigation', { name: 'Sales' })).toContainText(title);
});

test('it follows a server that is restarted', async ({ server, page }) => {
  await server.createSale({ id: 'shoes', stock: 5 });
  await page.goto(`${server.url}/#shoes`);
  await expect(page.getByTestId('connection')).toHaveText('Live');
  await server.stop();
  await expect(page.getByText('Not connected, trying again')).toBeVisible();
  await server.start();
  await expect(page.getByTestId('connection')).toHaveText('Live');
  await server.call('POST', '/v1/sales/shoes/stock', { add: 2 });
  await expect.poll(() => number(page, 'remaining')).toBe(7);
});

test('it fits a phone', async ({ server, page }, info) => {
  await page.setViewportSize(kPhone);
  await server.createSale({ id: 'shoes', stock: 100 });
  await server.rush('shoes', 300);
  await page.goto(`${server.url}/#shoes`);
  await expect.poll(() => number(page, 'remaining')).toBe(0);
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  expect(width).toBeLessThanOrEqual(kPhone.width);
  await expectAccessible(page);
  await page.emulateMedia({ colorScheme: 'dark' });
  await expectAccessible(page);
  await picture(page, info, 'console-phone');
});

test.describe('with an admin token', () => {
  const token = 'correct-horse "battery" zoë';
  test.use({ settings: { 'admin.token': 'correct-horse-battery' } });

  test("it asks again who comes with a buyer's token", async ({ server, page }) => {
    await page.addInitScript(() => {
      sessionStorage.setItem('doorbuster:admin-token', 'a.buyers.token');
    });
    await page.route('**/v1/admin/events*', (route) => {
      const body = JSON.stringify({ code: 'forbidden', title: 'Forbidden', status: 403 });
      return route.fulfill({ status: 403, contentType: 'application/problem+json', body });
    });
    await page.goto(server.url);
    await expect(page.getByRole('alert')).toContainText('not the admin token');
    await expect(page.getByLabel('Admin token')).toBeVisible();
  });

  test('an order is found by its id, of whichever sale it is', async ({ server, page }) => {
    await page.addInitScript(
      (given) => sessionStorage.setItem('doorbuster:admin-token', given),
      server.token,
    );
    await server.createSale({ id: 'shoes', stock: 5 });
    await server.createSale({ id: 'shown', stock: 5 });
    const headers = { 'X-User-Id': 'ada', Authorization: '' };
    const bought = await server.call(
      'POST',
      '/v1/sales/shoes/purchases',
      { quantity: 1 },
      headers,
    );
    await page.goto(`${server.url}/#shown`);
    await page.getByLabel('Order or buyer').fill(bought.body.order_id);
    await page.getByRole('button', { name: 'Search' }).click();
    const table = page.getByRole('region', { name: 'Orders found' });
    await expect(table).toContainText(`${bought.body.order_id} (sale shoes)`);
  });

  test('it asks for it, and refuses a wrong one', async ({ server, page }) => {
    await server.createSale({ id: 'shoes', stock: 5 });
    await page.goto(server.url);
    const field = page.getByLabel('Admin token');
    await field.fill(token);
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await expect(page.getByRole('alert')).toContainText('not the admin token');
    await field.fill(server.token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await expect(page.getByTestId('sale-title')).toHaveText('shoes');
    await page.reload();
    await expect(page.getByTestId('sale-title')).toHaveText('shoes');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await expect(field).toBeVisible();
    expect(await page.evaluate(() => sessionStorage.length + localStorage.length)).toBe(0);
  });
});
