import events from './index.js';

export const {
  EventConsumer,
  EventError,
  EventProducer,
  EventType,
  Topic,
  TypedProducer,
  getEventProducer,
  AbortedError,
  AuthenticationError,
  AuthorizationError,
  ClosedError,
  IncompatibleSchemaError,
  InternalError,
  InvalidConfigError,
  InvalidEventError,
  QueueFullError,
  RecordTooLargeError,
  TimeoutError,
  UnavailableError,
  UndecodableError,
  UnknownTopicError,
} = events;

export default events;
