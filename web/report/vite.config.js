import { defineConfig } from 'vite';

// One script and one style sheet, which ../tools/single_file.mjs puts into the page itself.
export default defineConfig({
  build: {
    target: 'es2022',
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
