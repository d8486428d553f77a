// node pictures.mjs PAGE.html PREFIX: each load's charts in the report of `bench stages` as
// PREFIX-1.png, PREFIX-2.png and so on, drawn by the Chromium and the Playwright of tests/web.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(new URL('../../tests/web/', import.meta.url));
const { chromium } = require('playwright');

const [page, prefix] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
});
try {
  const view = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  await view.goto(pathToFileURL(resolve(page)).href);
  const loads = view.locator('.charts');
  for (let i = 0; i < (await loads.count()); ++i) {
    const path = `${prefix}-${i + 1}.png`;
    await loads.nth(i).screenshot({ path });
    console.log(`written: ${path}`);
  }
} finally {
  await browser.close();
}
