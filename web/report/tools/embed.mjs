// embed.mjs DIST OUT.cc: puts the built script and style sheet into the page itself, and writes the
// page down as a C++ function.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [dist, out] = process.argv.slice(2);
let page = readFileSync(join(dist, 'index.html'), 'utf8');
const asset = (path) => readFileSync(join(dist, path.replace(/^\//, '')), 'utf8');
const styles = [];
page = page.replace(/<link rel="stylesheet"[^>]*href="([^"]+)"[^>]*>/g, (_, path) => {
  styles.push(asset(path));
  return '';
});
const scripts = [];
page = page.replace(/<script type="module"[^>]*src="([^"]+)"[^>]*><\/script>/g, (_, path) => {
  scripts.push(asset(path).replaceAll('</script', '<\\/script'));
  return '';
});
if (scripts.length !== 1 || styles.length === 0) throw new Error('one script and its styles were expected');
page = page.replace('</head>', () => `<style>${styles.join('\n')}</style>\n</head>`);
// Behind the data that it reads.
page = page.replace('</body>', () => `<script type="module">${scripts[0]}</script>\n</body>`);
if (!page.includes('"report-data-goes-here"')) throw new Error('the place for the data is gone');

// Literals of a length that every compiler takes.
const literals = [];
for (let at = 0; at < page.length; at += 8000) {
  literals.push(`    R"page(${page.slice(at, at + 8000)})page"`);
}
writeFileSync(out, `// Made from web/report by web/report/tools/embed.mjs.
#include "app/stages/report_page.h"

namespace doorbuster::stages {

std::string_view report_page() {
    static constexpr char kPage[] =
${literals.join('\n')};
    return {kPage, sizeof kPage - 1};
}

} // namespace doorbuster::stages
`);
