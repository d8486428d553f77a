// A built page with its script and its styles put into the page itself.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export function singleFile(dist) {
  const asset = (path) => readFileSync(join(dist, path.replace(/^\//, '')), 'utf8');
  const styles = [];
  const scripts = [];
  const page = readFileSync(join(dist, 'index.html'), 'utf8')
    .replace(/<link rel="stylesheet"[^>]*href="([^"]+)"[^>]*>/g, (_, path) => {
      styles.push(asset(path));
      return '';
    })
    .replace(/<script type="module"[^>]*src="([^"]+)"[^>]*><\/script>/g, (_, path) => {
      scripts.push(asset(path).replaceAll('</script', '<\\/script'));
      return '';
    });
  if (scripts.length !== 1 || styles.length === 0) {
    throw new Error(`${dist}: one script and its styles were expected`);
  }
  // The script stands behind the data that it reads.
  return page
    .replace('</head>', () => `<style>${styles.join('\n')}</style>\n</head>`)
    .replace('</body>', () => `<script type="module">${scripts[0]}</script>\n</body>`);
}
