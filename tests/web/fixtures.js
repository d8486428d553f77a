// What every test of the pages has: a server, and a page that may not complain.
import AxeBuilder from '@axe-core/playwright';
import { test as base, expect } from '@playwright/test';
import { Server } from './server.js';

export { expect };

export const kPhone = { width: 390, height: 844 };
export const kDesktop = { width: 1440, height: 1000 };

export const test = base.extend({
  // Settings of the server: test.use({ settings: { 'admin.token': '…' } }).
  settings: [{}, { option: true }],
  // Errors in the console that a test expects, as parts of their texts: a browser reports every
  // answer from 400 on, and every call that a dead network swallows.
  allowedErrors: [['Failed to load resource'], { option: true }],

  server: async ({ settings }, use, info) => {
    const server = await Server.start(settings);
    await use(server);
    if (info.status !== info.expectedStatus) console.log(server.log());
    await server.remove();
  },

  page: async ({ page, allowedErrors }, use) => {
    const complaints = [];
    page.on('console', (message) => {
      const text = message.text();
      const isAllowed = allowedErrors.some((part) => text.includes(part));
      if (['error', 'warning'].includes(message.type()) && !isAllowed) complaints.push(text);
    });
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('dialog', (dialog) => {
      complaints.push(`a dialog: ${dialog.message()}`); // a hostile text that ran
      void dialog.dismiss();
    });
    await use(page);
    expect(complaints).toEqual([]);
  },
});

// No serious fault in what the page shows now.
export async function expectAccessible(page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  const faults = serious.map(
    ({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`,
  );
  expect(faults).toEqual([]);
}

// A number as the pages write it.
export function shown(text) {
  return Number(text.replaceAll(',', ''));
}

export async function number(page, id) {
  return shown(await page.getByTestId(id).innerText());
}

// A picture for people to look at, in the scratch folder, in light and dark.
export async function picture(page, info, name) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: info.outputPath(`${name}-${colorScheme}.png`), fullPage: true });
  }
  await page.emulateMedia({ colorScheme: 'light' });
}
