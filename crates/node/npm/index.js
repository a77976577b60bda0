'use strict';

const { EventType, Topic } = require('./lib/events/index.js');
const { EventConsumer } = require('./lib/consumer.js');
const { EventError, classes } = require('./lib/errors.js');
const { EventProducer, getEventProducer } = require('./lib/legacy.js');
const { TypedProducer } = require('./lib/producer.js');

// One literal name a line: Node's import of CommonJS finds only these.
module.exports = {
  EventConsumer,
  EventError,
  EventProducer,
  EventType,
  Topic,
  TypedProducer,
  getEventProducer,
  AbortedError: classes.Aborted,
  AuthenticationError: classes.Authentication,
  AuthorizationError: classes.Authorization,
  ClosedError: classes.Closed,
  IncompatibleSchemaError: classes.IncompatibleSchema,
  InternalError: classes.Internal,
  InvalidConfigError: classes.InvalidConfig,
  InvalidEventError: classes.InvalidEvent,
  QueueFullError: classes.QueueFull,
  RecordTooLargeError: classes.RecordTooLarge,
  TimeoutError: classes.Timeout,
  UnavailableError: classes.Unavailable,
  UndecodableError: classes.Undecodable,
  UnknownTopicError: classes.UnknownTopic,
};
