// Checks that what is in assets/vendor/ is, byte for byte, what npm has: that VERSIONS.txt
// names every file, that package-lock.json pins the same packages by the same SHA-512,
// and that the file is that of the installed package, which npm held against it.
import { readdir, readFile } from 'node:fs/promises';

const vendor = new URL('../assets/vendor/', import.meta.url);
const { packages } = JSON.parse(await readFile(new URL('package-lock.json', import.meta.url), 'utf8'));
const listed = (await readFile(new URL('VERSIONS.txt', vendor), 'utf8')).split('\n').filter((line) => line && !line.startsWith('#'));

/** @type {string[]} */
const wrong = [];
const unnamed = new Set(await readdir(vendor));
unnamed.delete('VERSIONS.txt');
for (const line of listed) {
  const [file = '', name = '', version, path = '', integrity] = line.split(/\s+/);
  const locked = packages[`node_modules/${name}`];
  if (!unnamed.delete(file)) wrong.push(`${file}: there is no such file`);
  else if (locked?.version !== version || locked?.integrity !== integrity) wrong.push(`${file}: package-lock.json has ${name} ${locked?.version} ${locked?.integrity}`);
  else if (!(await readFile(new URL(file, vendor))).equals(await readFile(new URL(`node_modules/${name}/${path}`, import.meta.url)))) wrong.push(`${file}: is not ${path} of ${name} ${version}`);
}
for (const file of unnamed) wrong.push(`${file}: is not in VERSIONS.txt`);
if (listed.length === 0) wrong.push('VERSIONS.txt names nothing');
if (wrong.length > 0) {
  console.error(`assets/vendor/ is not what npm has:\n${wrong.join('\n')}`);
  process.exit(1);
}
console.log(`${listed.length} vendored files are what npm has`);
