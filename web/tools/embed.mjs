// node embed.mjs PAGES REPORT OUT.cc: writes the files of two builds into a C++ source. The pages,
// compressed ahead of time, become doorbuster::web_pages(); the report of `bench stages`, one file,
// becomes doorbuster::stages::report_page().
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { extname, join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { singleFile } from './single_file.mjs';

const types = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

function files(folder) {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? files(path) : [path];
    });
}

// index.html is what its folder is called.
function addressOf(dist, file) {
  return (
    '/' +
    relative(dist, file)
      .replaceAll('\\', '/')
      .replace(/index\.html$/, '')
  );
}

function brotli(bytes) {
  return brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  });
}

const arrays = [];
// The expression of a string_view over these bytes.
function bytesAs(name, bytes) {
  if (bytes.length === 0) return '{}';
  const lines = [];
  for (let i = 0; i < bytes.length; i += 32) {
    lines.push('    ' + Array.from(new Int8Array(bytes.subarray(i, i + 32))).join(','));
  }
  arrays.push(`constexpr char ${name}[] = {\n${lines.join(',\n')}};\n`);
  return `{${name}, ${bytes.length}}`;
}

const [dist, report, out] = process.argv.slice(2);
const pages = files(dist).map((file, i) => {
  const type = types[extname(file)];
  if (!type) throw new Error(`${file}: no content type for it`);
  const plain = readFileSync(file);
  const shorter = (bytes) => (bytes.length < plain.length ? bytes : Buffer.alloc(0));
  const gzip = shorter(gzipSync(plain, { level: 9 }));
  const br = shorter(brotli(plain));
  const etag = createHash('sha256').update(plain).digest('hex').slice(0, 32);
  const fields = [
    JSON.stringify(addressOf(dist, file)),
    JSON.stringify(type),
    JSON.stringify(etag),
    bytesAs(`kPlain${i}`, plain),
    bytesAs(`kGzip${i}`, gzip),
    bytesAs(`kBrotli${i}`, br),
  ];
  console.log(
    `${addressOf(dist, file)}: ${plain.length} bytes, gzip ${gzip.length}, br ${br.length}`,
  );
  return `    {${fields.join(', ')}},\n`;
});

const reportPage = Buffer.from(singleFile(report));
if (!reportPage.includes('"report-data-goes-here"')) throw new Error('the place for the data is gone');
console.log(`the report: ${reportPage.length} bytes`);
const reportBytes = bytesAs('kReport', reportPage);

writeFileSync(
  out,
  `// Made from web/ by web/tools/embed.mjs.
#include "app/stages/report_page.h"
#include "app/web_pages.h"

namespace doorbuster {
namespace {

${arrays.join('\n')}
constexpr http::WebFile kPages[] = {
${pages.join('')}};

} // namespace

std::span<const http::WebFile> web_pages() { return kPages; }

std::string_view stages::report_page() { return ${reportBytes}; }

} // namespace doorbuster
`,
);
