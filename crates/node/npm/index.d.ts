/// <reference types="node" />
/// <reference lib="esnext.disposable" />

export type * from './lib/envelope.js';
export type * from './lib/settings.js';
export * from './lib/consumer.js';
export * from './lib/errors.js';
export * from './lib/events/index.js';
export * from './lib/legacy.js';
export * from './lib/producer.js';
