// Checks that every module in assets/vendor/ is, byte for byte, in the package that
// package-lock.json pins by its SHA-512.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const vendor = join(here, '../assets/vendor');
const packages = ['preact', 'htm', '@preact/signals', '@preact/signals-core'];

/** The files below a folder. @param {string} folder */
const files = async (folder) => (await readdir(folder, { recursive: true, withFileTypes: true }))
  .filter((entry) => entry.isFile()).map((entry) => join(entry.path, entry.name));
const sum = async (/** @type {string} */ path) => createHash('sha256').update(await readFile(path)).digest('hex');

/** @type {Map<string, string>} */
const known = new Map();
for (const name of packages) {
  for (const path of await files(join(here, 'node_modules', name))) known.set(await sum(path), path);
}
const modules = (await files(vendor)).filter((path) => /\.m?js$/.test(path));
const strange = [];
for (const path of modules) if (!known.has(await sum(path))) strange.push(path);
if (modules.length === 0) strange.push(`${vendor}: there are no modules`);
if (strange.length > 0) {
  console.error(`not what npm has of ${packages.join(', ')}, in the versions of package.json:\n${strange.join('\n')}`);
  process.exit(1);
}
console.log(`${modules.length} vendored modules are what npm has`);
