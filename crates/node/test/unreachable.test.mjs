// No broker answers: which calls fail, when, and how the process ends.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { EventProducer, TypedProducer } from '@254carbon/event-producer';

const call = { service: 's', endpoint: '/', method: 'GET', statusCode: 200, latencyMs: 1, requestSize: 0, responseSize: 0 };

/** A port that accepts connections and never answers. */
async function silent(t) {
  const sockets = new Set();
  const server = createServer((socket) => sockets.add(socket.on('error', () => {})));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return server.address().port;
}

/** The seconds until the promise rejects. */
async function rejects(work) {
  const start = performance.now();
  await assert.rejects(work, (error) => error.retryable === true);
  return (performance.now() - start) / 1_000;
}

test('connect, calls and disconnect end in the time that services know', async (t) => {
  t.mock.method(console, 'error', () => {});
  const port = await silent(t);
  const options = { securityProtocol: 'PLAINTEXT' };
  const cases = {
    'nothing listens': { bootstrapServers: '127.0.0.1:1' },
    'nothing answers': { bootstrapServers: `127.0.0.1:${port}` },
    'nor does the registry': { bootstrapServers: `127.0.0.1:${port}`, schemaRegistryUrl: `http://127.0.0.1:${port}` },
  };
  await Promise.all(
    Object.entries(cases).map(async ([name, more]) => {
      const producer = (service) => new EventProducer({ ...options, ...more, sourceService: service });
      const [connecting, calling, ending] = ['connecting', 'calling', 'ending'].map(producer);
      const connected = rejects(connecting.connect()).then(async (seconds) => {
        assert.equal(connecting.connected, false);
        assert.ok(seconds < 20, `connect: ${seconds} s`);
        return seconds;
      });
      const called = rejects(calling.produceAPICallEvent(call)).then((seconds) => {
        assert.ok(seconds < 50, `a call: ${seconds} s`);
        assert.deepEqual(calling.getStats(), { delivered: 0, errors: 1 });
        return seconds;
      });
      const left = rejects(ending.produceAPICallEvent(call));
      const start = performance.now();
      await ending.disconnect();
      const ended = (performance.now() - start) / 1_000;
      assert.ok(ended < 10, `disconnect: ${ended} s`);
      assert.equal(ending.connected, false);
      assert.ok((await left) < 50);
      t.diagnostic(`${name}: connect ${await connected} s, a call ${await called} s, disconnect ${ended} s`);
    }),
  );
});

test('a given delivery timeout is kept, as an option or as a property', async (t) => {
  t.mock.method(console, 'error', () => {});
  const options = { securityProtocol: 'PLAINTEXT', bootstrapServers: '127.0.0.1:1' };
  for (const more of [
    { deliveryTimeoutMs: 1_000 },
    { properties: { 'delivery.timeout.ms': 1_000 } },
    { properties: { 'message.timeout.ms': '1000' } },
  ]) {
    const seconds = await rejects(new EventProducer({ ...options, ...more }).produceAPICallEvent(call));
    assert.ok(seconds < 10, `${JSON.stringify(more)}: ${seconds} s`);
  }
  const typed = new TypedProducer({ ...options, deliveryTimeoutMs: 1_000 });
  await assert.rejects(typed.send('ServiceHealthEvent', { serviceName: 's', namespace: 'n', healthStatus: 'HEALTHY', latencyMs: 1, errorRate: 0 }));
  await typed.close({ timeoutMs: 1_000 });
});

test('the exit waits no longer than five seconds, after a disconnect that could not deliver too', () => {
  const program = (end) => `
    const { EventProducer } = require('@254carbon/event-producer');
    const producer = new EventProducer({ bootstrapServers: '127.0.0.1:1', securityProtocol: 'PLAINTEXT' });
    producer.produceAPICallEvent(${JSON.stringify(call)}).catch(() => {});
    let start;
    process.on('exit', () => (start = Date.now()));
    require('node:timers').setTimeout(() => ${end}, 100);
  `;
  const start = Date.now();
  const atOnce = spawnSync(process.execPath, ['-e', program('process.exit(0)')], { encoding: 'utf8', timeout: 60_000 });
  const took = Date.now() - start;
  assert.equal(atOnce.status, 0);
  assert.match(atOnce.stderr, /1 records were not acknowledged/);
  assert.ok(took < 7_000, `${took} ms`);
  const disconnecting = program('producer.disconnect().then(() => process.exit(0))');
  const later = spawnSync(process.execPath, ['-e', disconnecting], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(later.status, 0);
  assert.match(later.stderr, /1 records were not acknowledged/);
  assert.ok(Date.now() - start - took < 17_000);
});

test('the exit counts what every disconnect left, not only the last one', () => {
  const program = `
    const { join } = require('node:path');
    const { EventProducer } = require('@254carbon/event-producer');
    const internal = require(join(require.resolve('@254carbon/event-producer'), '../lib/internal.js'));
    const producer = new EventProducer({ bootstrapServers: '127.0.0.1:1', securityProtocol: 'PLAINTEXT' });
    (async () => {
      for (let i = 0; i < 3; i++) {
        producer.produceAPICallEvent(${JSON.stringify(call)}).catch(() => {});
        // Like disconnect, with a shorter timeout.
        await producer[internal.end](50).catch(() => {});
      }
      producer.produceAPICallEvent(${JSON.stringify(call)}).catch(() => {});
      producer.disconnect();
      process.exit(0);
    })();
  `;
  const { status, stderr } = spawnSync(process.execPath, ['-e', program], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0);
  assert.match(stderr, /4 records were not acknowledged/);
});

test('close takes its configured timeout', async () => {
  const options = { bootstrapServers: '127.0.0.1:1', securityProtocol: 'PLAINTEXT', closeTimeoutMs: 300 };
  const producer = new TypedProducer(options);
  const sent = producer.sendRaw('t', { value: Buffer.from('v') });
  const given = assert.rejects(sent, { kind: 'Aborted' });
  const start = performance.now();
  await assert.rejects(producer.close(), { kind: 'Aborted' });
  const took = performance.now() - start;
  assert.ok(took > 250 && took < 5_000, `${took} ms`);
  await given;
});
