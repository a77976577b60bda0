// The same binary in every Node from 16 on, and in Bun.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { platformTopics, reading } from './support.mjs';

const require = createRequire(import.meta.url);
const modules = join(dirname(require.resolve('@254carbon/event-producer/package.json')), '../..');

const program = (topicPrefix) => `
  const assert = require('node:assert');
  const { EventProducer, EventConsumer, TypedProducer, InvalidEventError } = require('@254carbon/event-producer');
  const options = ${JSON.stringify({ ...reading, topicPrefix })};
  const health = { serviceName: 's', namespace: 'n', healthStatus: 'HEALTHY', latencyMs: 1n, errorRate: 0 };
  (async () => {
    const old = new EventProducer({ ...options, sourceService: 'versions' });
    await old.connect();
    await old.produceServiceHealthEvent({ ...health, latencyMs: '7' });
    const json = new EventProducer({ ...options, schemaRegistryUrl: undefined, sourceService: 'json' });
    await json.produceServiceHealthEvent({ ...health, latencyMs: 7.5, message: 'half \\ud800 é' });
    class Subclass extends EventProducer {
      _createBaseEvent(type, fields) { return { ...super._createBaseEvent(type, fields), correlationId: 'c' }; }
    }
    const subclass = new Subclass({ ...options, sourceService: 'versions' });
    await subclass.produceServiceHealthEvent({ ...health, latencyMs: 8 });
    await subclass.producer.send({ topic: '${topicPrefix}system-health', messages: [{ value: JSON.stringify(subclass._createBaseEvent('ServiceHealthEvent', { ...health, latencyMs: 9 })) }] });
    assert.deepStrictEqual([old, json, subclass].map((one) => one.getStats().delivered), [1, 1, 1]);
    console.error = () => {};
    await assert.rejects(old.produceCustomEvent(undefined, 'k', {}), TypeError);
    await assert.rejects(old.produceAPICallEvent(), TypeError);
    for (const one of [old, json, subclass]) await one.disconnect();
    const producer = new TypedProducer(options);
    await Promise.all(Array.from({ length: 1000 }, () => producer.send('ServiceHealthEvent', health)));
    await assert.rejects(producer.send('ServiceHealthEvent', {}), InvalidEventError);
    assert.deepStrictEqual(await producer.sendMany('ServiceHealthEvent', [health, health]), { delivered: 2 });
    const controller = new AbortController();
    controller.abort();
    const { signal } = controller;
    await assert.rejects(producer.send('ServiceHealthEvent', health, { signal }), { name: 'AbortError' });
    await assert.rejects(producer.sendMany('ServiceHealthEvent', [health], { signal }), { name: 'AbortError' });
    await producer.close();
    const consumer = new EventConsumer({
      ...options, topicPrefix: undefined, topics: '${topicPrefix}system-health', standalone: true, detectEnd: true,
    });
    let seen = 0;
    for await (const { event, error } of consumer) {
      assert.strictEqual(error, null);
      assert.strictEqual(event.serviceName, 's');
      seen++;
    }
    await assert.rejects(consumer.nextBatch({ signal }), { name: 'AbortError' });
    await consumer.close();
    console.log(seen);
  })();
`;

const runtimes = {
  'Node 16': 'node16/bin/node',
  'Node 18': 'node18/bin/node',
  'Node 22': 'node22/bin/node',
  'Node 24': 'node24/bin/node',
  'Node 26': 'node26/bin/node',
  Bun: 'bun/bin/bun',
};

for (const [runtime, path] of Object.entries(runtimes)) {
  test(`${runtime} produces and consumes`, async (t) => {
    const binary = join(modules, path);
    assert.ok(existsSync(binary), binary);
    const topicPrefix = await platformTopics();
    const options = { encoding: 'utf8', timeout: 60_000, cwd: dirname(modules) };
    const version = execFileSync(binary, ['--version'], options).trim();
    const written = execFileSync(binary, ['-e', program(topicPrefix)], options);
    t.diagnostic(version);
    assert.equal(written, '1006\n');
  });
}
