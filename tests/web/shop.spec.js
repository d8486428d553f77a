// The storefront: a buyer with one button, in good and in bad weather.
import { expect, expectAccessible, kDesktop, kPhone, number, picture, test } from './fixtures.js';
import { eventually, pause } from './server.js';
import { buy, headline, openShop, refuse, status } from './storefront.js';

test.use({ viewport: kPhone });

test('a buyer buys with one tap, and pays', async ({ server, page }, info) => {
  await server.createSale({
    id: 'shoes',
    stock: 10,
    price: 4999,
    currency: 'EUR',
    payment_timeout_s: 600,
  });
  await page.goto(`${server.url}/shop/shoes?user=ada`);
  await expect(headline(page)).toHaveText('The sale is open.');
  await expect(page.getByText('€49.99')).toBeVisible();
  expect(await number(page, 'remaining')).toBe(10);
  await expectAccessible(page);
  await picture(page, info, 'shop-open');

  await buy(page).click();
  await expect(status(page)).toHaveText('confirmed');
  await expect(page.getByText('Pay within')).toBeVisible();
  await expectAccessible(page);
  await picture(page, info, 'shop-yours');
  await page.screenshot({ path: info.outputPath('readme-shop-phone.png') });

  await page.getByRole('button', { name: 'Pay (demo)' }).click();
  await expect(headline(page)).toHaveText('Paid. Thank you!');
  await expect(buy(page)).toHaveAttribute('aria-disabled', 'true');
  const orders = await server.orders('shoes');
  expect(orders.map(({ user_id, status }) => [user_id, status])).toEqual([['ada', 'paid']]);
  await picture(page, info, 'shop-paid');
});

test('ten presses are one order', async ({ server, page }) => {
  await server.createSale({ id: 'shoes', stock: 100, per_user_limit: 20 });
  await page.goto(`${server.url}/shop/shoes?user=ada`);
  await expect(headline(page)).toHaveText('The sale is open.');
  await buy(page).evaluate((button) => {
    for (let i = 0; i < 10; i += 1) button.click();
  });
  await expect(headline(page)).toHaveText('It is yours.');
  await buy(page).evaluate((button) => {
    for (let i = 0; i < 10; i += 1) button.click();
  });
  await page.reload();
  await expect(headline(page)).toHaveText('It is yours.');
  expect(await server.orders('shoes')).toHaveLength(1);
  expect(await server.metric('doorbuster_purchases_total', { outcome: 'replayed' })).toBe(0);
});

test.describe('when the network dies', () => {
  test('after the server has said yes, a reload shows the one order', async ({ server, page }) => {
    await server.createSale({
      id: 'shoes',
      stock: 100,
      per_user_limit: 20,
      payment_timeout_s: 600,
    });
    await page.goto(`${server.url}/shop/shoes?user=ada`);
    // The request arrives, its answer does not: whatever comes after, too.
    let isDead = false;
    await page.route('**/v1/**', async (route) => {
      if (route.request().method() === 'POST' && !isDead) {
        isDead = true;
        await route.fetch();
      }
      if (isDead) await route.abort('internetdisconnected');
      else await route.continue();
    });
    await buy(page).click();
    await expect(page.getByText('No connection to the shop.', { exact: false })).toBeVisible();
    await expect(buy(page)).toHaveText('Still trying…');
    await expectAccessible(page);
    expect(await server.orders('shoes')).toHaveLength(1);

    await page.unroute('**/v1/**');
    await page.reload();
    await expect(status(page)).toHaveText('confirmed');
    const [order] = await server.orders('shoes');
    await expect(page.getByTestId('order-id')).toHaveText(order.order_id);
    await page.getByRole('button', { name: 'Pay (demo)' }).click();
    await expect(status(page)).toHaveText('paid');
    expect(await server.orders('shoes')).toHaveLength(1);
  });

  test('before the request has left, the page buys once when it is back', async ({
    server,
    page,
    context,
  }) => {
    await server.createSale({ id: 'shoes', stock: 100, per_user_limit: 20 });
    await page.goto(`${server.url}/shop/shoes?user=ada`);
    await expect(headline(page)).toHaveText('The sale is open.');
    await context.setOffline(true);
    await buy(page).click();
    await expect(buy(page)).toHaveText('Still trying…');
    expect(await server.orders('shoes')).toHaveLength(0);
    await context.setOffline(false);
    await expect(headline(page)).toHaveText('It is yours.');
    expect(await server.orders('shoes')).toHaveLength(1);
  });

  test('a server that is killed in mid-purchase comes back with the order', async ({
    server,
    page,
  }) => {
    await server.createSale({
      id: 'shoes',
      stock: 100,
      per_user_limit: 20,
      payment_timeout_s: 600,
    });
    await page.goto(`${server.url}/shop/shoes?user=ada`);
    await buy(page).click();
    await expect(status(page)).toHaveText('confirmed');
    server.process.kill('SIGKILL');
    await server.ended;
    await expect(page.getByText('No connection to the shop.', { exact: false })).toBeVisible();
    await server.start();
    await page.reload();
    await expect(status(page)).toHaveText('confirmed');
    expect(await server.orders('shoes')).toHaveLength(1);
  });
});

test.describe("an order's stream", () => {
  const kEvents = '**/v1/orders/*/events';

  test('comes again when it is told to', async ({ server, page }) => {
    await openShop(server, page, { payment_timeout_s: 600 });
    const at = [];
    await page.route(kEvents, (route) => {
      at.push(Date.now());
      if (at.length > 1) return route.continue();
      return refuse(route, 503, 'overloaded', { retryAfter: 4 });
    });
    await buy(page).click();
    await expect(status(page)).toHaveText('confirmed');
    expect(at[1] - at[0]).toBeGreaterThanOrEqual(4_000);
  });

  test('that ends at once is opened ever more rarely', async ({ server, page }) => {
    await openShop(server, page, { payment_timeout_s: 600 });
    const at = [];
    await page.route(kEvents, (route) => {
      at.push(Date.now());
      return route.fulfill({ contentType: 'text/event-stream', body: ': nothing yet\n\n' });
    });
    await buy(page).click();
    await eventually(() => at.length > 4, 'it was opened five times');
    expect(at[4] - at[3]).toBeGreaterThanOrEqual(1_900); // 4 s, give or take half of that
  });
});

test.describe('a machine that slept', () => {
  // performance.now() stands still for as long as `slept` says, and the network is slow then.
  async function canSleep(page, sale) {
    await page.addInitScript(() => {
      globalThis.slept = 0;
      const now = performance.now.bind(performance);
      performance.now = () => now() - globalThis.slept;
    });
    let isFirst = true;
    await page.route(`**/v1/sales/${sale}`, async (route) => {
      if (!isFirst) await pause(500); // poll: a round trip that is worse than the first
      isFirst = false;
      await route.continue();
    });
  }
  const sleepAnHour = (page) =>
    page.evaluate(() => {
      globalThis.slept = 3_600_000;
    });
  const inTwoHours = () => new Date(Date.now() + 2 * 3_600_000).toISOString();

  test('has the time again when its page is seen', async ({ server, page }) => {
    await canSleep(page, 'later');
    await server.createSale({ id: 'later', stock: 5, starts_at: inTwoHours() });
    await page.goto(`${server.url}/shop/later?user=ada`);
    const timer = page.getByRole('timer');
    await expect(timer).toContainText('01:59');
    await sleepAnHour(page);
    await expect(timer).toContainText('02:59');
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await expect(timer).toContainText('01:59');
  });

  test('has it with the next answer, even if nobody tells it', async ({ server, page }) => {
    await canSleep(page, 'shoes');
    await openShop(server, page, { ends_at: inTwoHours() });
    const ends = page.getByText('Ends in');
    await expect(ends).toContainText('01:59');
    await sleepAnHour(page);
    await expect(ends).toContainText('02:59');
    await expect(ends).toContainText('01:59');
  });
});

test('the button opens by the clock, before the page has asked again', async ({ server, page }) => {
  const starts_at = new Date(Date.now() + 8_000).toISOString();
  await server.createSale({ id: 'shoes', stock: 5, starts_at });
  await page.route('**/v1/sales/shoes', async (route) => {
    const { body } = await server.call('GET', '/v1/sales/shoes');
    await route.fulfill({ json: { ...body, state: 'scheduled' } });
  });
  await page.goto(`${server.url}/shop/shoes?user=ada`);
  await expect(buy(page)).toHaveText('Not open yet');
  await expect(buy(page)).toHaveText('Buy now');
  await buy(page).click();
  await expect(headline(page)).toHaveText('It is yours.');
});

test('the focus stays where the finger is', async ({ server, page }) => {
  await openShop(server, page, { payment_timeout_s: 600 });
  await buy(page).click();
  const button = (name) => page.getByRole('button', { name });
  await button('Cancel order').press('Enter');
  await expect(button('Yes, give it back')).toBeFocused();
  await button('Keep it').press('Enter');
  await expect(button('Cancel order')).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(button('Yes, give it back')).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(headline(page)).toHaveText('You cancelled this order.');
  await expect(page.getByRole('heading', { name: 'Your order' })).toBeFocused();
  await buy(page).click();
  await expect(button('Cancel order')).toBeVisible(); // of another order: not asked yet
});

test('the countdown runs on the clock of the server', async ({ server, page }, info) => {
  // This browser believes that it is next year.
  await page.addInitScript(() => {
    const now = Date.now.bind(Date);
    Date.now = () => now() + 365 * 86_400_000;
  });
  const starts = new Date(Date.now() + 15_000).toISOString();
  await server.createSale({ id: 'soon', stock: 5, starts_at: starts });
  await page.goto(`${server.url}/shop/soon?user=ada`);
  await expect(headline(page)).toHaveText('Not open yet.');
  await expect(page.getByRole('timer')).toContainText(/00:[01]\d/);
  await expect(buy(page)).toHaveAttribute('aria-disabled', 'true');
  await expectAccessible(page);
  await picture(page, info, 'shop-countdown');
  await expect(headline(page)).toHaveText('The sale is open.');
  expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(starts));
  await buy(page).click();
  await expect(headline(page)).toHaveText('It is yours.');
});

test('sold out is said, and what comes back can be bought', async ({ server, page }, info) => {
  await server.createSale({ id: 'one', stock: 1, payment_timeout_s: 600 });
  await page.goto(`${server.url}/shop/one?user=ada`);
  await expect(headline(page)).toHaveText('The sale is open.');
  // Another buyer is faster than the page.
  const winner = { 'X-User-Id': 'bob' };
  const won = await server.call('POST', '/v1/sales/one/purchases', { quantity: 1 }, winner);
  await buy(page).click();
  await expect(headline(page)).toContainText('Sold out');
  await expectAccessible(page);
  await picture(page, info, 'shop-sold-out');
  const first = await page.evaluate(() => localStorage.getItem('doorbuster:one:ada'));
  expect(first ?? '{}').toBe('{}'); // no key outlives a refusal
  await server.call('POST', `/v1/orders/${won.body.order_id}/cancel`, undefined, winner);
  await expect(buy(page)).toHaveText('Buy now');
  await buy(page).click();
  await expect(status(page)).toHaveText('confirmed');
});

test('a buyer cancels, and may buy again', async ({ server, page }) => {
  await server.createSale({ id: 'shoes', stock: 3, payment_timeout_s: 600 });
  await page.goto(`${server.url}/shop/shoes?user=ada`);
  await buy(page).click();
  await page.getByRole('button', { name: 'Cancel order' }).click();
  await page.getByRole('button', { name: 'Yes, give it back' }).click();
  await expect(headline(page)).toHaveText('You cancelled this order.');
  await expect(buy(page)).toHaveText('Buy again');
  await buy(page).click();
  await expect(status(page)).toHaveText('confirmed');
  const orders = await server.orders('shoes');
  expect(orders.map((order) => order.status)).toEqual(['cancelled', 'confirmed']);
});

test('an order that is not paid in time is lost, and the page says so', async ({
  server,
  page,
}) => {
  await server.createSale({ id: 'quick', stock: 3, payment_timeout_s: 2 });
  await page.goto(`${server.url}/shop/quick?user=ada`);
  await buy(page).click();
  await expect(headline(page)).toContainText('The time to pay is over');
});

test('an operator pauses and closes under the eyes of a buyer', async ({ server, page }) => {
  await server.createSale({ id: 'shoes', stock: 3 });
  await page.goto(`${server.url}/shop/shoes?user=ada`);
  await expect(headline(page)).toHaveText('The sale is open.');
  await server.call('PATCH', '/v1/sales/shoes', { state: 'paused' });
  await expect(headline(page)).toContainText('The sale is paused');
  await server.call('POST', '/v1/sales/shoes/close');
  await expect(headline(page)).toHaveText('This sale is closed.');
  await expect(buy(page)).toHaveText('Closed');
  await expectAccessible(page);
});

test('the limit of a buyer leads to the order that there is', async ({ server, page }) => {
  await server.createSale({ id: 'shoes', stock: 3 });
  const made = await server.call(
    'POST',
    '/v1/sales/shoes/purchases',
    { quantity: 1 },
    {
      'X-User-Id': 'ada',
    },
  );
  await page.goto(`${server.url}/shop/shoes?user=ada`);
  await buy(page).click();
  await expect(page.getByTestId('order-id')).toHaveText(made.body.order_id);
});

test.describe('slow down', () => {
  test.use({ settings: { 'limits.per_user_per_second': 0.2 } });

  test('has a timer, and the same wish goes on after it', async ({ server, page }, info) => {
    await server.createSale({ id: 'shoes', stock: 50, per_user_limit: 20 });
    await page.goto(`${server.url}/shop/shoes?user=ada`);
    await expect(headline(page)).toHaveText('The sale is open.');
    await eventually(async () => {
      // Somebody with the same name is in a hurry, until the limit is reached.
      const answer = await server.call(
        'POST',
        '/v1/sales/shoes/purchases',
        { quantity: 1 },
        {
          'X-User-Id': 'ada',
        },
      );
      return answer.status === 429;
    }, 'the limit refuses');
    await buy(page).click();
    await expect(buy(page)).toContainText('Try again in');
    await expect(headline(page)).toContainText('Slow down');
    await expectAccessible(page);
    await picture(page, info, 'shop-slow-down');
    const key = await page.evaluate(() => localStorage.getItem('doorbuster:shoes:ada'));
    await expect(buy(page)).toHaveAttribute('aria-disabled', 'false');
    await buy(page).click();
    await expect(headline(page)).toHaveText('It is yours.');
    const kept = await page.evaluate(() => localStorage.getItem('doorbuster:shoes:ada'));
    expect(JSON.parse(kept).key).toBe(JSON.parse(key).key);
  });
});

test('hostile names are text', async ({ server, page }) => {
  const title = `<img src=x onerror="alert(1)">'"</script><script>alert(2)</script>`;
  const user = `<b>ada</b> "' & zoë 🦊`;
  await server.createSale({ id: 'hostile', title, stock: 5 });
  await page.goto(`${server.url}/shop/hostile?user=${encodeURIComponent(user)}`);
  await expect(page.getByTestId('title')).toHaveText(title);
  await expect(page.getByTestId('user')).toHaveText(user);
  await buy(page).click();
  await expect(headline(page)).toHaveText('It is yours.');
  const [order] = await server.orders('hostile');
  expect(order.user_id).toBe(user);
});

test('it works without a mouse, on a desktop too', async ({ server, page }, info) => {
  await page.setViewportSize(kDesktop);
  await server.createSale({ id: 'shoes', stock: 5, payment_timeout_s: 600 });
  await page.goto(`${server.url}/shop/shoes?user=ada`);
  await expect(headline(page)).toHaveText('The sale is open.');
  await page.keyboard.press('Tab');
  await expect(buy(page)).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(status(page)).toHaveText('confirmed');
  await expect(buy(page)).toBeFocused(); // the button did not go away under the finger
  await page.keyboard.press('Tab');
  await expect(page.getByRole('button', { name: 'Pay (demo)' })).toBeFocused();
  await page.keyboard.press('Space');
  await expect(headline(page)).toHaveText('Paid. Thank you!');
  await picture(page, info, 'shop-desktop');
});

test('a sale that there is not is said so', async ({ server, page }) => {
  await page.goto(`${server.url}/shop/nothing`);
  await expect(headline(page)).toHaveText('There is no sale at this address.');
  await server.createSale({ id: 'nothing', stock: 1 });
  await expect(headline(page)).toHaveText('The sale is open.');
});
