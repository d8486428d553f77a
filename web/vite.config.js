import { defineConfig } from 'vite';

// The server that `npm run dev` passes calls on to.
const server = process.env.DOORBUSTER_URL ?? 'http://127.0.0.1:8080';

// The storefront has one page for all sales, as the server has it.
const shop = {
  name: 'shop',
  configureServer(dev) {
    dev.middlewares.use((request, _, next) => {
      request.url = request.url.replace(/^\/shop\/[^/.?]+(?=$|\?)/, '/shop/');
      next();
    });
  },
};

export default defineConfig({
  plugins: [shop],
  // Nothing may stand in the pages themselves: their policy forbids inline scripts and styles.
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rollupOptions: { input: ['index.html', 'shop/index.html'] },
  },
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  server: { proxy: { '/v1': server, '/readyz': server } },
});
