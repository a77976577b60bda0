// Web applications that use the drop-in, under load.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import autocannon from 'autocannon';
import express from 'express';
import fastify from 'fastify';
import { countRecords, old, platformTopics, readAll } from './support.mjs';

const require = createRequire(import.meta.url);

const load = (port) =>
  autocannon({ url: `http://127.0.0.1:${port}/v1/prices`, connections: 50, duration: 3 });

function describe(request, status, startedAt) {
  return {
    service: 'pricing-api',
    endpoint: request.url,
    method: request.method,
    statusCode: status,
    latencyMs: Date.now() - startedAt,
    requestSize: request.headers['content-length'],
    responseSize: '17',
    userId: request.user?.id,
  };
}

test('Express: an event a request, each in the topic', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix, sourceService: 'express' });
  const app = express();
  app.use((request, response, next) => {
    const startedAt = Date.now();
    response.on('finish', () => {
      producer.produceAPICallEvent(describe(request, response.statusCode, startedAt));
    });
    next();
  });
  app.get('/v1/prices', (_, response) => response.json({ price: 41.5 }));
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const result = await load(server.address().port);
  server.closeAllConnections();
  server.close();
  await producer.flush();
  const { delivered, errors } = producer.getStats();
  t.diagnostic(`${result.requests.average} requests/s, ${delivered} events`);
  assert.equal(errors, 0);
  assert.ok(delivered >= result['2xx'] && result['2xx'] > 100);
  assert.equal(await countRecords(`${topicPrefix}audit-api-calls`), delivered);
  const [{ event }] = await readAll(`${topicPrefix}audit-api-calls`);
  assert.equal(event.responseSizeBytes, 17);
  assert.equal(event.requestSizeBytes, 0);
});

test('Fastify: each answer waits for its event', async (t) => {
  const { getEventProducer } = require('@254carbon/event-producer');
  assert.equal(typeof getEventProducer, 'function');
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix, sourceService: 'fastify' });
  const app = fastify();
  app.get('/v1/prices', async (request) => {
    await producer.produceAPICallEvent(describe(request.raw, 200, Date.now()));
    return { price: 41.5 };
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  const result = await load(app.server.address().port);
  app.server.closeAllConnections();
  await app.close();
  await producer.flush();
  const { delivered, errors } = producer.getStats();
  t.diagnostic(`${result.requests.average} requests/s, ${delivered} events`);
  assert.equal(errors, 0);
  assert.ok(delivered >= result['2xx'] && result['2xx'] > 100);
  assert.equal(await countRecords(`${topicPrefix}audit-api-calls`), delivered);
});
