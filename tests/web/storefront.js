// What tests of the storefront do again and again.
import { expect } from './fixtures.js';

export const buy = (page) => page.getByTestId('buy');
export const headline = (page) => page.getByTestId('headline');
export const status = (page) => page.getByTestId('order-status');

// The keys of the purchases that a page sends, as it sends them.
export function keysOf(page) {
  const keys = [];
  page.on('request', (request) => {
    if (request.method() === 'POST' && request.url().endsWith('/purchases')) {
      keys.push(request.headers()['idempotency-key']);
    }
  });
  return keys;
}

export const kPurchases = '**/v1/sales/*/purchases';

// Answers as doorbuster or a gateway would.
export function refuse(route, status, code, more = {}) {
  const { retryAfter, ...body } = more;
  return route.fulfill({
    status,
    contentType: 'application/problem+json',
    headers: retryAfter === undefined ? {} : { 'Retry-After': String(retryAfter) },
    body: JSON.stringify({ type: `/problems/${code}`, title: code, status, code, ...body }),
  });
}

export function storedWish(page, name) {
  return page.evaluate((item) => JSON.parse(localStorage.getItem(item) ?? '{}'), name);
}

// From now on the page is told of the sale what is true now.
export async function freezeSale(server, page, sale) {
  const { body } = await server.call('GET', `/v1/sales/${sale}`);
  await page.route(`**/v1/sales/${sale}`, (route) => route.fulfill({ json: body }));
}

export async function openShop(server, page, sale = {}) {
  await server.createSale({ id: 'shoes', stock: 100, per_user_limit: 20, ...sale });
  await page.goto(`${server.url}/shop/shoes?user=ada`);
  await expect(headline(page)).toHaveText('The sale is open.');
}
