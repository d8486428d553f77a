// A buyer's wish (web/src/shop/wish.ts) in bad weather: which answers end it, which leave it open,
// and that whatever is pressed, reloaded or said by whoever is in between, it is one order at most.
import { expect, expectAccessible, kPhone, test } from './fixtures.js';
import { eventually } from './server.js';
import {
  buy,
  freezeSale,
  headline,
  kPurchases,
  keysOf,
  openShop,
  refuse,
  storedWish,
} from './storefront.js';

test.use({ viewport: kPhone });

test.describe('a no for now', () => {
  test('is not sent again by a reload, and keeps its key for the next press', async ({
    server,
    page,
  }) => {
    await openShop(server, page);
    await freezeSale(server, page, 'shoes'); // the page has not heard yet of the pause
    await server.call('PATCH', '/v1/sales/shoes', { state: 'paused' });
    const keys = keysOf(page);
    await buy(page).click();
    await expect(headline(page)).toHaveText('The sale is paused.');
    await page.unroute('**/v1/sales/shoes');
    await page.reload();
    await expect(buy(page)).toHaveText('Paused');
    await server.call('PATCH', '/v1/sales/shoes', { state: 'open' });
    await page.reload();
    await expect(buy(page)).toHaveText('Buy now');
    expect(keys).toHaveLength(1);
    expect(await server.orders('shoes')).toHaveLength(0);
    await buy(page).click();
    await expect(headline(page)).toHaveText('It is yours.');
    expect(keys).toEqual([keys[0], keys[0]]);
  });

  test('in one tab is not sent by another; a yes is shown in both', async ({
    server,
    page,
    context,
  }) => {
    await openShop(server, page);
    const other = await context.newPage();
    const otherKeys = keysOf(other);
    await other.goto(`${server.url}/shop/shoes?user=ada`);
    await expect(headline(other)).toHaveText('The sale is open.');
    await other.evaluate(() => {
      globalThis.heard = new Promise((done) => {
        addEventListener('storage', ({ newValue }) => newValue.includes('Refused') && done());
      });
    });
    await page.route(kPurchases, (route) => refuse(route, 429, 'rate_limited', { retryAfter: 1 }));
    await buy(page).click();
    await expect(headline(page)).toContainText('Slow down');
    await other.evaluate(() => globalThis.heard);
    await expect(buy(other)).toHaveText('Buy now');
    await page.unroute(kPurchases);
    await expect(buy(page)).toHaveText('Buy now'); // not "Check my order": there is none
    await buy(page).click();
    await expect(headline(page)).toHaveText('It is yours.');
    await expect(headline(other)).toHaveText('It is yours.');
    expect(otherKeys).toEqual([]);
    expect(await server.orders('shoes')).toHaveLength(1);
  });

  test('says that nothing was ordered, when that is known', async ({ server, page }) => {
    await openShop(server, page);
    await page.route(kPurchases, (route) => refuse(route, 503, 'overloaded', { retryAfter: 1 }));
    await buy(page).click();
    await expect(headline(page)).toContainText('Nothing was ordered yet.');
    expect(await storedWish(page, 'doorbuster:shoes:ada')).toMatchObject({ isRefused: true });
    await expect(buy(page)).toHaveText('Buy now');
  });
});

test.describe('nobody knows', () => {
  for (const status of [503, 504]) {
    test(`after a gateway's ${status}: the page says so, and asks until it knows`, async ({
      server,
      page,
    }) => {
      await openShop(server, page);
      const keys = keysOf(page);
      let isHung = true;
      await page.route(kPurchases, async (route) => {
        if (!isHung) return route.continue();
        if (keys.length === 1) await route.fetch(); // it is bought, and the answer came too late
        return status === 503
          ? refuse(route, 503, 'unavailable', { retryAfter: 1 })
          : route.fulfill({ status: 504, contentType: 'text/html', body: '<h1>Time-out</h1>' });
      });
      await buy(page).click();
      await expect(headline(page)).toContainText('We do not know yet');
      await expectAccessible(page);
      await eventually(() => keys.length > 1, 'it asks again');
      await expect(headline(page)).toContainText('We do not know yet');
      isHung = false;
      await expect(headline(page)).toHaveText('It is yours.');
      expect(await server.orders('shoes')).toHaveLength(1);
      expect(new Set(keys).size).toBe(1);
    });
  }

  test('and a limit at the gateway does not make it a no', async ({ server, page }) => {
    await openShop(server, page);
    const keys = keysOf(page);
    await page.route(kPurchases, async (route) => {
      if (keys.length === 1) {
        await route.fetch();
        await route.abort('connectionreset');
      } else if (keys.length === 2) {
        await refuse(route, 429, 'rate_limited', { retryAfter: 2 });
      } else {
        await route.continue();
      }
    });
    await buy(page).click();
    await eventually(() => keys.length === 2, 'the limit was met');
    expect(await storedWish(page, 'doorbuster:shoes:ada')).not.toHaveProperty('isRefused');
    await page.reload();
    await expect(headline(page)).toHaveText('It is yours.');
    expect(await server.orders('shoes')).toHaveLength(1);
  });

  test('for a quarter of an hour; then the buyer checks', async ({ server, page }) => {
    await page.addInitScript(() => {
      globalThis.later = 0;
      const now = Date.now.bind(Date);
      Date.now = () => now() + globalThis.later;
    });
    await openShop(server, page);
    const keys = keysOf(page);
    await page.route(kPurchases, async (route) => {
      if (keys.length === 1) await route.fetch();
      await route.abort('connectionreset');
    });
    await buy(page).click();
    await expect(buy(page)).toHaveText('Still trying…');
    await page.evaluate(() => {
      globalThis.later = 16 * 60_000;
    });
    await expect(buy(page)).toHaveText('Check my order');
    await expect(headline(page)).toContainText('We do not know yet');
    await expectAccessible(page);
    await page.unroute(kPurchases);
    const tries = keys.length;
    await buy(page).click();
    await expect(headline(page)).toHaveText('It is yours.');
    expect(keys).toHaveLength(tries + 1);
    expect(await server.orders('shoes')).toHaveLength(1);
  });

  test('and a browser without storage presses safely all the same', async ({ server, page }) => {
    await page.addInitScript(() => {
      globalThis.later = 0;
      const now = Date.now.bind(Date);
      Date.now = () => now() + globalThis.later;
      const refused = () => {
        throw new DOMException('denied', 'SecurityError');
      };
      Storage.prototype.getItem = refused;
      Storage.prototype.setItem = refused;
    });
    await openShop(server, page);
    const keys = keysOf(page);
    await page.route(kPurchases, async (route) => {
      if (keys.length === 1) return refuse(route, 429, 'rate_limited', { retryAfter: 0 });
      await route.fetch();
      return route.abort('connectionreset');
    });
    await buy(page).click();
    await eventually(() => keys.length === 1, 'the limit was met');
    await expect(buy(page)).toHaveText('Buy now');
    await buy(page).click();
    await expect(buy(page)).toHaveText('Still trying…');
    await page.evaluate(() => {
      globalThis.later = 16 * 60_000;
    });
    await expect(buy(page)).toHaveText('Check my order');
    await page.unroute(kPurchases);
    await buy(page).click();
    await expect(headline(page)).toHaveText('It is yours.');
    expect(new Set(keys).size).toBe(1);
    expect(await server.orders('shoes')).toHaveLength(1);
  });
});

test.describe('an order that there is', () => {
  test('is not made twice by a press in a tab that has not heard of it', async ({
    server,
    page,
    context,
  }) => {
    await openShop(server, page);
    const other = await context.newPage();
    await other.addInitScript(() => {
      addEventListener('storage', (event) => event.stopImmediatePropagation());
    });
    const keys = keysOf(other);
    await other.goto(`${server.url}/shop/shoes?user=ada`);
    await expect(headline(other)).toHaveText('The sale is open.');
    await buy(page).click();
    await expect(headline(page)).toHaveText('It is yours.');
    await expect(buy(other)).toHaveText('Buy now');
    await buy(other).click();
    await expect(headline(other)).toHaveText('It is yours.');
    expect(keys).toEqual([]);
    expect(await server.orders('shoes')).toHaveLength(1);
  });

  test('is not made twice by a press before it is shown', async ({ server, page }) => {
    await openShop(server, page, { payment_timeout_s: 600 });
    await buy(page).click();
    await expect(page.getByTestId('order-status')).toHaveText('confirmed');
    let goOn;
    const isTime = new Promise((done) => {
      goOn = done;
    });
    await page.route('**/v1/orders/*/events', async (route) => {
      await isTime;
      await route.continue();
    });
    const keys = keysOf(page);
    await page.reload();
    await expect(buy(page)).toHaveText('One moment…');
    await buy(page).evaluate((button) => button.click());
    goOn();
    await expect(page.getByTestId('order-status')).toHaveText('confirmed');
    expect(keys).toEqual([]);
  });
});

test('what one buyer began is not gone on with for another', async ({ server, page }) => {
  await openShop(server, page);
  const sent = [];
  await page.route(kPurchases, (route) => {
    sent.push(route.request().headers()['x-user-id']);
    return route.abort('connectionreset');
  });
  const become = async (user) => {
    await page.getByRole('button', { name: 'Change' }).click();
    await page.getByLabel('Buy as (demo)').fill(user);
    await page.getByRole('button', { name: 'Use' }).click();
    await expect(page.getByTestId('user')).toHaveText(user);
  };
  await page.clock.install();
  await buy(page).click();
  await expect(buy(page)).toHaveText('Still trying…');
  await become('bob');
  await expect(buy(page)).toHaveText('Buy now');
  expect(await storedWish(page, 'doorbuster:shoes:bob')).toEqual({});
  const { key } = await storedWish(page, 'doorbuster:shoes:ada');
  const tries = sent.length;
  // Past every pause after which it would have been sent again; what is sent, is sent before this.
  await page.clock.fastForward(120_000);
  await page.evaluate(() => fetch('/livez'));
  expect(sent).toHaveLength(tries);
  expect(new Set(sent)).toEqual(new Set(['ada']));
  await page.unroute(kPurchases);
  await become('ada');
  await expect(headline(page)).toHaveText('It is yours.');
  expect(await storedWish(page, 'doorbuster:shoes:ada')).toMatchObject({ key });
  expect((await server.orders('shoes')).map((order) => order.user_id)).toEqual(['ada']);
});

test.describe('a buyer who is not signed in', () => {
  test('is sent to the shop, where a token cannot help', async ({ server, page }) => {
    await openShop(server, page);
    const detail = "Send the buyer's id in the header X-User-Id.";
    await page.route(kPurchases, (route) => refuse(route, 401, 'unauthorized', { detail }));
    await buy(page).click();
    await expect(headline(page)).toContainText('Sign in at the shop');
    await expect(page.getByRole('textbox')).toHaveCount(0);
    await expectAccessible(page);
  });

  test('is asked for the token that the server wants', async ({ server, page }) => {
    await openShop(server, page);
    const detail = 'Send Authorization: Bearer and your token.';
    await page.route(kPurchases, (route) => refuse(route, 401, 'unauthorized', { detail }));
    await buy(page).click();
    await expect(page.getByLabel('Sign in with your token')).toBeVisible();
    await expectAccessible(page);
  });
});
