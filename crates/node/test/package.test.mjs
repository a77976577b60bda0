// The installed package: its files, types and size.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';

const require = createRequire(import.meta.url);
const installed = dirname(require.resolve('@254carbon/event-producer/package.json'));
const modules = join(installed, '../..');
const tarballs = process.env.CARBON_EVENTS_TARBALLS.split(delimiter);
const main = tarballs.find((file) => !/linux|darwin|win32/.test(file));
const bin = (name) => join(modules, '.bin', name);

const sizeOf = (path) =>
  statSync(path).isDirectory()
    ? readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
    : statSync(path).size;

test('no script runs at its install, and nothing but the addon comes with it', () => {
  const scope = dirname(installed);
  for (const name of readdirSync(scope)) {
    const manifest = JSON.parse(readFileSync(join(scope, name, 'package.json'), 'utf8'));
    assert.equal(manifest.scripts, undefined, name);
    assert.equal(manifest.dependencies, undefined, name);
  }
});

test('npm installs what was packed, without scripts and without a network', () => {
  const folder = mkdtempSync(join(tmpdir(), 'carbon-events-'));
  try {
    writeFileSync(join(folder, 'package.json'), '{"private": true}');
    const options = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--cache', join(folder, 'cache')];
    execFileSync('npm', ['install', ...options, ...tarballs], { cwd: folder, stdio: 'pipe' });
    const code = "console.log(typeof require('@254carbon/event-producer').EventProducer)";
    const written = execFileSync(process.execPath, ['-e', code], { cwd: folder, encoding: 'utf8' });
    assert.equal(written, 'function\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the install is below 15 MB', (t) => {
  const size = sizeOf(dirname(installed));
  t.diagnostic(`${(size / 1e6).toFixed(2)} MB`);
  assert.ok(size < 15e6, `${size} bytes`);
});

test('a missing addon is an error that names the platform', () => {
  const code = `Object.defineProperty(process, 'arch', { value: 'pdp11' });
    require('@254carbon/event-producer')`;
  const { status, stderr } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /no addon for @254carbon\/event-producer-linux-pdp11/);
});

test('tsc --strict takes what is right and refuses every mistake', () => {
  const common = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--target', 'es2022'];
  const lib = ['--lib', 'es2022,esnext.disposable', '--types', 'node'];
  for (const module of ['nodenext', 'node16']) {
    const files = ['types/good.ts', 'types/mistakes.ts'];
    const options = [...common, ...lib, '--module', module, '--moduleResolution', module];
    const result = spawnSync(bin('tsc'), [...options, ...files], { encoding: 'utf8' });
    assert.equal(result.status, 0, result.stdout);
  }
});

test('attw and publint find nothing wrong with its types and exports', () => {
  const attw = spawnSync(bin('attw'), [main, '--profile', 'node16', '--no-color'], { encoding: 'utf8' });
  assert.equal(attw.status, 0, attw.stdout + attw.stderr);
  const publint = spawnSync(bin('publint'), ['run', installed, '--strict', '--pack', 'false'], { encoding: 'utf8' });
  assert.equal(publint.status, 0, publint.stdout + publint.stderr);
});

test('the types know the errors and test faults that the addon knows', () => {
  const native = require(join(installed, 'lib/native.js'));
  const types = readFileSync(join(installed, 'lib/errors.d.ts'), 'utf8');
  for (const { kind } of JSON.parse(native.errorKinds())) {
    assert.match(types, new RegExp(`class ${kind}Error extends EventError<'${kind}'>`));
  }
});
