// Bundlers and tracers include the addon, and a test runner finds no open handle.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { nodeFileTrace } from '@vercel/nft';
import { build } from 'esbuild';
import webpack from 'webpack';

const require = createRequire(import.meta.url);
const installed = dirname(require.resolve('@254carbon/event-producer/package.json'));
const modules = join(installed, '../..');
const addon = readdirSync(dirname(installed)).find((name) => name !== 'event-producer');
const ADDON = `node_modules/@254carbon/${addon}/carbon-events.node`;

/** Sends to a broker, so that the bundle must be complete. */
const PROGRAM = `
  const { EventProducer, EventConsumer } = require('@254carbon/event-producer');
  const { TestPlatform } = require('@254carbon/event-producer/testing');
  (async () => {
    const platform = await TestPlatform.start();
    const producer = platform.eventProducer({ sourceService: 'bundled' });
    await producer.produceServiceHealthEvent({
      serviceName: 's', namespace: 'n', healthStatus: 'HEALTHY', latencyMs: 1, errorRate: 0,
    });
    const [{ event }] = await platform.records('system-health');
    console.log(event.source, typeof EventConsumer);
    await platform.stop();
  })();
`;

/** A folder with the program that can resolve the packages. */
function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'carbon-events-bundle-'));
  t.after(() => rmSync(path, { recursive: true }));
  symlinkSync(modules, join(path, 'node_modules'));
  const program = join(path, 'program.js');
  writeFileSync(program, PROGRAM);
  return { path, program };
}

/** Runs a bundle in a folder that cannot resolve any package. */
function runs(t, from, file) {
  const away = mkdtempSync(join(tmpdir(), 'carbon-events-bundled-'));
  t.after(() => rmSync(away, { recursive: true }));
  cpSync(from, away, { recursive: true });
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(away, file)], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0, stderr);
  assert.equal(stdout, 'bundled function\n');
}

test('@vercel/nft lists the addon, and what it lists is enough', async (t) => {
  const { path } = folder(t);
  const base = join(modules, '..');
  const program = join(base, 'traced.cjs');
  writeFileSync(program, PROGRAM);
  t.after(() => rmSync(program));
  const { fileList } = await nodeFileTrace([program], { base });
  const files = [...fileList];
  assert.ok(files.includes(ADDON), files.join('\n'));
  const traced = join(path, 'traced');
  for (const file of files) {
    mkdirSync(dirname(join(traced, file)), { recursive: true });
    cpSync(join(base, file), join(traced, file), { dereference: true });
  }
  runs(t, traced, 'traced.cjs');
});

test('esbuild bundles the addon as a file', async (t) => {
  const { path, program } = folder(t);
  const result = await build({
    entryPoints: [program],
    bundle: true,
    platform: 'node',
    loader: { '.node': 'copy' },
    outdir: join(path, 'out'),
    logLevel: 'silent',
    preserveSymlinks: true,
  });
  assert.deepEqual(result.errors, []);
  runs(t, join(path, 'out'), 'program.js');
});

test('esbuild leaves the package out where it is external', async (t) => {
  const { path, program } = folder(t);
  await build({
    entryPoints: [program],
    bundle: true,
    platform: 'node',
    external: ['@254carbon/*'],
    outfile: join(path, 'bundle.js'),
    logLevel: 'silent',
  });
  const { stdout } = spawnSync(process.execPath, [join(path, 'bundle.js')], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(stdout, 'bundled function\n');
});

function pack(options) {
  return new Promise((resolve, reject) => {
    webpack(options, (error, stats) => (error ? reject(error) : resolve(stats.toJson({ all: false, errors: true, warnings: true }))));
  });
}

test('webpack bundles the addon with node-loader', async (t) => {
  const { path, program } = folder(t);
  const { errors, warnings } = await pack({
    mode: 'production',
    target: 'node',
    context: path,
    entry: program,
    output: { path: join(path, 'out'), filename: 'bundle.js' },
    module: { rules: [{ test: /\.node$/, loader: 'node-loader' }] },
    resolveLoader: { modules: [modules] },
  });
  assert.deepEqual(errors, []);
  // The addons of other platforms are not installed.
  const unknown = warnings.filter(({ message }) => !/Can't resolve '@254carbon\/event-producer-/.test(message));
  assert.deepEqual(unknown, []);
  runs(t, join(path, 'out'), 'bundle.js');
});

test('webpack leaves the package out where it is external', async (t) => {
  const { path, program } = folder(t);
  const { errors, warnings } = await pack({
    mode: 'development',
    target: 'node',
    context: path,
    entry: program,
    output: { path, filename: 'bundle.js' },
    externals: [/^@254carbon\//],
    externalsType: 'commonjs',
  });
  assert.deepEqual([errors, warnings], [[], []]);
  const { stdout } = spawnSync(process.execPath, [join(path, 'bundle.js')], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(stdout, 'bundled function\n');
});

test('every platform that has an addon is required by its literal name', () => {
  const source = readFileSync(join(installed, 'lib/native.js'), 'utf8');
  const { optionalDependencies } = require('@254carbon/event-producer/package.json');
  for (const name of Object.keys(optionalDependencies)) assert.ok(source.includes(`require('${name}')`), name);
});

test('pkg needs no assets: the addon is the main file of a package that is required by its name', () => {
  const manifest = require('@254carbon/event-producer/package.json');
  const { name, main, files } = require(`@254carbon/${addon}/package.json`);
  assert.ok(Object.hasOwn(manifest.optionalDependencies, name));
  assert.equal(main, 'carbon-events.node');
  assert.ok(files.includes(main));
  // pkg includes only files that `require` names by a literal.
  const source = readFileSync(join(installed, 'lib/native.js'), 'utf8');
  const required = [...source.matchAll(/require\(([^)]*)\)/g)].map(([, what]) => what);
  assert.deepEqual(required.filter((what) => !/^'[^']+'$/.test(what)), []);
  assert.deepEqual(required.map((what) => what.slice(1, -1)).sort(), Object.keys(manifest.optionalDependencies).sort());
});

/** Runs Jest on test files. */
function jest(t, files, ...options) {
  const { path } = folder(t);
  writeFileSync(join(path, 'package.json'), '{ "jest": { "testEnvironment": "node", "haste": { "enableSymlinks": false } } }');
  for (const [file, code] of Object.entries(files)) writeFileSync(join(path, file), code);
  const words = [join(modules, 'jest/bin/jest.js'), '--rootDir', path, '--watchman=false', ...options];
  return spawnSync(process.execPath, words, { cwd: path, encoding: 'utf8', timeout: 120_000 });
}

test('Jest finds no open handle after a bare require, nor after a disconnect', (t) => {
  const { status, stderr } = jest(
    t,
    {
      'bare.test.js': `
        const { EventProducer, getEventProducer } = require('@254carbon/event-producer');
        test('it is there', () => {
          expect(typeof EventProducer).toBe('function');
          const producer = getEventProducer('s', { tls: false, securityProtocol: 'PLAINTEXT' });
          expect(producer.getStats()).toEqual({ delivered: 0, errors: 0 });
        });
      `,
      'used.test.js': `
        const { TestPlatform } = require('@254carbon/event-producer/testing');
        test('an event is published', async () => {
          const platform = await TestPlatform.start();
          const producer = platform.eventProducer();
          await producer.produceCustomEvent('system-health', 'k', { a: 1 });
          await producer.disconnect();
          await platform.stop();
        }, 60_000);
      `,
    },
    '--detectOpenHandles',
    '--runInBand',
  );
  assert.equal(status, 0, stderr);
  assert.match(stderr, /Tests: +2 passed/);
  assert.ok(!/open handle/i.test(stderr), stderr);
});

test('Jest mocks the package by itself, and its methods one by one', (t) => {
  const { status, stderr } = jest(t, {
    'automock.test.js': `
      jest.mock('@254carbon/event-producer');
      const { EventProducer, getEventProducer, EventType, Topic } = require('@254carbon/event-producer');
      test('every method is a mock', async () => {
        const producer = new EventProducer({ sourceService: 's' });
        expect(EventProducer).toHaveBeenCalledTimes(1);
        for (const method of ['connect', 'disconnect', 'produceDataIngestionEvent', 'produceServiceHealthEvent',
          'produceAPICallEvent', 'produceDataQualityEvent', 'produceCustomEvent', 'getStats', '_produce', '_createBaseEvent']) {
          expect(producer[method]()).toBeUndefined();
          expect(producer[method]).toHaveBeenCalledTimes(1);
        }
        producer.produceAPICallEvent.mockResolvedValue('sent');
        expect(await producer.produceAPICallEvent({})).toBe('sent');
        expect(getEventProducer('x')).toBeUndefined();
        expect(EventType.API_CALL).toBe('AuditAPICallEvent');
        expect(Topic.AUDIT_ADMIN_OPS).toBe('audit-admin-operations');
      });
    `,
    'file.test.js': `
      jest.mock('@254carbon/event-producer/event-producer.js');
      const { EventProducer } = require('@254carbon/event-producer/event-producer.js');
      test('the file is mocked as well', () => {
        expect(new EventProducer()._produce()).toBeUndefined();
      });
    `,
    'spy.test.js': `
      const { EventProducer } = require('@254carbon/event-producer');
      const producer = new EventProducer({ sourceService: 's', securityProtocol: 'PLAINTEXT' });
      afterEach(() => jest.restoreAllMocks());
      test('spies see the calls', async () => {
        const send = jest.spyOn(producer.producer, 'send').mockResolvedValue([]);
        const produce = jest.spyOn(EventProducer.prototype, '_produce');
        await producer.produceDataIngestionEvent({ datasetName: 'd', recordCount: 1, sizeBytes: 2, location: 'l' });
        expect(produce).toHaveBeenCalledWith('data-ingestion', 'd', {
          eventId: expect.any(String), eventType: 'DataIngestionEvent', timestamp: expect.any(Number), source: 's', version: '1.0.0',
          datasetName: 'd', recordCount: 1, sizeBytes: 2, format: 'parquet', location: 'l', status: 'SUCCESS', metadata: {},
        });
        expect(send).toHaveBeenCalledWith({ topic: 'data-ingestion', messages: [{ key: 'd', value: expect.any(String) }] });
        expect(producer.deliveryCount).toBe(1);
        expect(producer).toMatchObject({ sourceService: 's', connected: false, errorCount: 0 });
      });
    `,
  });
  assert.equal(status, 0, stderr);
  assert.match(stderr, /Tests: +3 passed/);
});

test('a bare require holds no process', () => {
  const start = Date.now();
  const { status } = spawnSync(process.execPath, ['-e', "require('@254carbon/event-producer')"], { timeout: 20_000 });
  assert.equal(status, 0);
  assert.ok(Date.now() - start < 10_000);
});
