// The pages in Debian's Chromium, against a real doorbuster. One at a time: each test has a server
// of its own, and a rush wants the machine.
import { defineConfig } from '@playwright/test';

export default defineConfig({
  testDir: '.',
  outputDir: process.env.DOORBUSTER_WEB_SCRATCH ?? '../../build/web-tests',
  workers: 1,
  timeout: 180_000,
  expect: { timeout: 30_000 },
  // A machine that others use, too, may be late once; the list says that it was.
  retries: process.env.CI ? 1 : 0,
  reporter: [['list']],
  use: {
    browserName: 'chromium',
    actionTimeout: 30_000,
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      // A test's browser sees our own pages only; as root it has no sandbox, and no GPU here.
      args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    },
  },
});
