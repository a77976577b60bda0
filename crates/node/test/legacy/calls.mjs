// Calls of the kafkajs-based package's methods, with values as services pass them. `recorded.json` has
// the payload of each, by name, recorded from that package.

const api = {
  service: 'pricing-api',
  endpoint: '/v1/prices',
  method: 'GET',
  statusCode: 200,
  latencyMs: 12,
  requestSize: 0,
  responseSize: 512,
  userId: 'u-1',
  apiKey: 'sk_live_1',
  ipAddress: '192.0.2.7',
  errorMessage: 'none',
};
const ingestion = {
  datasetName: 'prices',
  recordCount: 10_000,
  sizeBytes: 1_024_000,
  location: 's3://bucket/prices.parquet',
};
const health = {
  serviceName: 'checkout',
  namespace: 'shop',
  healthStatus: 'HEALTHY',
  latencyMs: 25,
  errorRate: 0.001,
};
const quality = {
  datasetName: 'prices',
  checkType: 'completeness',
  checkName: 'no-gaps',
  result: 'PASS',
  score: 0.99,
  failedRecords: 10,
  totalRecords: 10_000,
};

const cyclic = {};
cyclic.self = cyclic;

class Money {
  constructor(amount) {
    this.amount = amount;
  }
  get currency() {
    return 'EUR';
  }
  toJSON(name) {
    return `${this.amount} EUR in ${name}`;
  }
}

const method = (name) => (parameters) => (producer) => producer[name](parameters);
const ingest = method('produceDataIngestionEvent');
const report = method('produceServiceHealthEvent');
const audit = method('produceAPICallEvent');
const check = method('produceDataQualityEvent');
const custom = (topic, key, event) => (producer) => producer.produceCustomEvent(topic, key, event);

/** Values that a call may pass for any parameter. */
const odd = {
  undefined,
  null: null,
  NaN: NaN,
  Infinity: Infinity,
  '-0': -0,
  fraction: 3.7,
  huge: 2 ** 40,
  beyondLong: 1e300,
  numericText: '1024',
  emptyText: '',
  text: 'n/a',
  lowerCase: 'success',
  boolean: true,
  array: ['a', 'b'],
  arrayOfNothing: [undefined, null, NaN, () => 1],
  object: { a: 1, b: undefined, c: { d: [] } },
  date: new Date(Date.UTC(2025, 9, 1, 12)),
  invalidDate: new Date(NaN),
  toJSON: new Money(5),
  boxed: Object('text'),
  map: new Map([['a', 1]]),
  buffer: Buffer.from('ab'),
  regExp: /x/g,
  error: new Error('broken'),
  function: () => 1,
  symbol: Symbol('s'),
  loneSurrogate: 'half \ud800 pair',
  lowSurrogate: '\udc00',
  emoji: '😀',
  controls: 'a"\\\n\u2028\u0000\u007f',
  bigint: 10n,
  cyclic,
};

/** `{ name: call }`. Each call receives a producer. */
export const calls = {
  'ingestion: the least': ingest(ingestion),
  'ingestion: everything': ingest({
    ...ingestion,
    status: 'PARTIAL',
    format: 'csv',
    metadata: { market: 'eex', rows: '7' },
  }),
  'ingestion: metadata of any type': ingest({
    ...ingestion,
    metadata: { n: 5, nested: { a: 1, b: [null, 2.5] }, ok: true, no: null, gone: undefined, when: odd.date },
  }),
  'ingestion: nothing': ingest({}),
  'ingestion: unknown members are left out': ingest({ ...ingestion, eventId: 'mine', extra: 1, source: 'x' }),
  'ingestion: inherited members': ingest(Object.create(ingestion)),
  'ingestion: an array': ingest([]),
  'ingestion: a text': ingest('text'),
  'ingestion: no argument': (producer) => producer.produceDataIngestionEvent(),
  'ingestion: null': ingest(null),
  'health: the least': report(health),
  'health: everything': report({ ...health, message: 'all well' }),
  'health: nothing': report({}),
  'health: a status in lower case': report({ ...health, healthStatus: 'healthy' }),
  'health: no argument': (producer) => producer.produceServiceHealthEvent(),
  'api: everything': audit(api),
  'api: the least': audit({
    service: 's',
    endpoint: '/',
    method: 'GET',
    statusCode: 200,
    latencyMs: 1,
    requestSize: 0,
    responseSize: 0,
  }),
  'api: nothing': audit({}),
  'api: as Express has it': audit({
    ...api,
    requestSize: '1024',
    userId: undefined,
    apiKey: undefined,
    errorMessage: undefined,
    ipAddress: '::ffff:127.0.0.1',
  }),
  'api: no argument': (producer) => producer.produceAPICallEvent(),
  'quality: the least': check(quality),
  'quality: everything': check({ ...quality, message: 'fine' }),
  'quality: a score above one': check({ ...quality, score: 85.0 }),
  'quality: nothing': check({}),
  'quality: no argument': (producer) => producer.produceDataQualityEvent(),
  'custom: an object': custom('legacy-custom', 'k', { a: [1, 'é'], nothing: undefined, b: { c: null } }),
  'custom: a text': custom('legacy-custom', null, 'text'),
  'custom: a number': custom('legacy-custom', undefined, 5.5),
  'custom: null': custom('legacy-custom', '', null),
  'custom: true': custom('legacy-custom', 'k', true),
  'custom: an array': custom('legacy-custom', Buffer.from('key'), [1, [2]]),
  'custom: toJSON': custom('legacy-custom', 'k', { toJSON: () => ({ from: 'toJSON' }) }),
  'custom: undefined': custom('legacy-custom', 'k', undefined),
  'custom: a function': custom('legacy-custom', 'k', () => 1),
  'custom: a symbol': custom('legacy-custom', 'k', Symbol('s')),
  'custom: toJSON gives nothing': custom('legacy-custom', 'k', { toJSON: () => undefined }),
  'custom: a bigint': custom('legacy-custom', 'k', 1n),
  'custom: cyclic': custom('legacy-custom', 'k', cyclic),
  'custom: no topic': custom(undefined, 'k', {}),
  'custom: the base event': (producer) => {
    const event = producer._createBaseEvent('DeploymentEvent', { deploymentName: 'api', version: 7, source: 'other' });
    return producer.produceCustomEvent('legacy-custom', 'k', event);
  },
  'custom: the base event alone': (producer) =>
    producer.produceCustomEvent('legacy-custom', 'k', producer._createBaseEvent('ServiceHealthEvent')),
  '_produce': (producer) => producer._produce('legacy-custom', 'k', { a: 1 }),
  ...Object.fromEntries(
    Object.entries(odd).flatMap(([name, value]) => [
      [`ingestion: recordCount ${name}`, ingest({ ...ingestion, recordCount: value })],
      [`ingestion: location ${name}`, ingest({ ...ingestion, location: value })],
      [`ingestion: status ${name}`, ingest({ ...ingestion, status: value })],
      [`ingestion: metadata ${name}`, ingest({ ...ingestion, metadata: value })],
      [`ingestion: metadata with ${name}`, ingest({ ...ingestion, metadata: { value } })],
      [`health: latencyMs ${name}`, report({ ...health, latencyMs: value })],
      [`health: errorRate ${name}`, report({ ...health, errorRate: value })],
      [`health: message ${name}`, report({ ...health, message: value })],
      [`api: statusCode ${name}`, audit({ ...api, statusCode: value })],
      [`api: requestSize ${name}`, audit({ ...api, requestSize: value })],
      [`api: userId ${name}`, audit({ ...api, userId: value })],
      [`api: ipAddress ${name}`, audit({ ...api, ipAddress: value })],
      [`quality: score ${name}`, check({ ...quality, score: value })],
      [`quality: result ${name}`, check({ ...quality, result: value })],
    ]),
  ),
};

/** An event's text, without the parts that differ in each run. */
export function comparable(text) {
  return text
    .replace(/^\{"eventId":"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"/, '{"eventId":"…"')
    .replace(/"timestamp":1[0-9]{12},/, '"timestamp":0,');
}
