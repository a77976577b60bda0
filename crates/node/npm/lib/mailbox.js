'use strict';

// Receives what other threads report: outcomes of records, results of operations, new records.

// Kept, because a test may replace the global one by a fake clock.
const { setImmediate } = require('node:timers');
const internal = require('./internal.js');
const native = require('./native.js');
const { fromParts } = require('./errors.js');

/** The most outcomes in one turn of the event loop: the continuations of their promises run in it. */
const MAX_OUTCOMES = 512;
const rows = new Float64Array(5 * MAX_OUTCOMES);

/** Groups of records in flight, by number. */
const groups = new Map();
/** Operations of the addon in progress, by number. */
const operations = new Map();
/** Consumers, and weak references to producers in use, by number. */
const clients = new Map();
/** Removes producers that are garbage-collected without a close. */
const dropped = new FinalizationRegistry((id) => forget(id));

let nextNumber = 0;
let reasonsToStay = 0;

const mailbox = new native.Mailbox();
/** Whether we hold a handle of the event loop: from the first use until everything is closed. */
let open = false;

function number() {
  nextNumber = (nextNumber + 1) >>> 0;
  return nextNumber;
}

/** Adds or removes reasons to keep the process alive. */
function stay(reasons) {
  const before = reasonsToStay;
  reasonsToStay += reasons;
  if (before === 0 && reasonsToStay > 0) {
    if (open) {
      mailbox.keepAlive(true);
    } else {
      mailbox.open(read);
      open = true;
    }
  }
  if (before > 0 && reasonsToStay === 0) {
    mailbox.keepAlive(false);
    release();
  }
}

/** Registers a producer for notifications of its queue. Does not keep it alive. */
function register(id, producer) {
  clients.set(id, new WeakRef(producer));
  dropped.register(producer, id, producer);
}

function unregister(id, producer) {
  dropped.unregister(producer);
  forget(id);
}

/** Removes a closed client. */
function forget(id) {
  clients.delete(id);
  release();
}

function release() {
  if (!open || reasonsToStay > 0 || clients.size > 0) return;
  open = false;
  mailbox.close();
}

let scheduled = false;

function readMore() {
  scheduled = false;
  read();
}

/** Reads one turn's share of the mailbox. The next turn reads the rest. */
function read() {
  const drained = mailbox.drain(rows);
  if (drained.more && !scheduled) {
    scheduled = true;
    setImmediate(readMore);
  }
  const news = typeof drained.news === 'string' ? JSON.parse(drained.news) : undefined;
  complete(drained.rows, news?.errors);
  if (news === undefined) return;
  for (const { operation, error, value } of news.answers) {
    const promise = operations.get(operation);
    if (promise === undefined) continue;
    operations.delete(operation);
    stay(-1);
    if (error === undefined) promise.resolve(value);
    else promise.reject(fromParts(error));
  }
  for (const consumer of news.ready) clients.get(consumer)?.onReady();
  for (const producer of news.capacity) clients.get(producer)?.deref()?.[internal.onCapacity]();
}

/** Passes the outcomes in `rows` to their groups. */
function complete(count, errors) {
  let last = -1;
  let group;
  for (let i = 0, end = count * 5; i < end; i += 5) {
    if (rows[i] !== last) {
      last = rows[i];
      group = groups.get(last);
    }
    if (group === undefined) continue;
    const index = rows[i + 1];
    if (index < 0) {
      groups.delete(last);
      group.end();
      group = undefined;
      stay(-1);
    } else if (rows[i + 2] < 0) {
      group.failed(index, fromParts(errors[rows[i + 3]]));
    } else {
      group.delivered(index, rows[i + 2] | 0, rows[i + 3], rows[i + 4]);
    }
  }
}

/** Starts an operation of the addon; `start` receives its number. Resolves with its result. */
function operate(start) {
  return new Promise((resolve, reject) => {
    const operation = number();
    start(operation);
    operations.set(operation, { resolve, reject });
    stay(1);
  });
}

module.exports = { mailbox, groups, clients, register, unregister, forget, number, stay, operate };
