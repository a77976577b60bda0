'use strict';

// What other threads tell: outcomes of records, answers to operations, records that have come.

// Taken now: a test may replace the global one with a clock of its own.
const { setImmediate } = require('node:timers');
const its = require('./internal.js');
const native = require('./native.js');
const { fromParts } = require('./errors.js');

/**
 * Outcomes that are told in one turn of the event loop. Who waited for them goes on in the same
 * turn, so that it is these that make it long.
 */
const TOLD_AT_ONCE = 512;
const rows = new Float64Array(5 * TOLD_AT_ONCE);

/** Groups of records that are on their way, by their numbers. */
const groups = new Map();
/** Operations of the addon's that are not answered. */
const operations = new Map();
/** Weak references to producers in use, and consumers, by their numbers. */
const clients = new Map();
/** Producers that are dropped without a close leave no entry either. */
const dropped = new FinalizationRegistry((id) => forget(id));

let nextNumber = 0;
let reasonsToStay = 0;

const mailbox = new native.Mailbox();
/** Whether the event loop has a handle of ours: from the first use until nothing is open. */
let open = false;

function number() {
  nextNumber = (nextNumber + 1) >>> 0;
  return nextNumber;
}

/** The process stays as long as there is a reason to. */
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

/** A producer is in use: what happens to its queue is for it, as long as it lives. */
function enlist(id, producer) {
  clients.set(id, new WeakRef(producer));
  dropped.register(producer, id, producer);
}

/** A producer is not in use any more. */
function discharge(id, producer) {
  dropped.unregister(producer);
  forget(id);
}

/** A client is closed. */
function forget(id) {
  clients.delete(id);
  release();
}

function release() {
  if (!open || reasonsToStay > 0 || clients.size > 0) return;
  open = false;
  mailbox.close();
}

let goingOn = false;

function goOn() {
  goingOn = false;
  read();
}

/** One turn: what is left comes in the next one. */
function read() {
  const drained = mailbox.drain(rows);
  if (drained.more && !goingOn) {
    goingOn = true;
    setImmediate(goOn);
  }
  const news = typeof drained.news === 'string' ? JSON.parse(drained.news) : undefined;
  tell(drained.rows, news?.errors);
  if (news === undefined) return;
  for (const { operation, error, value } of news.answers) {
    const asked = operations.get(operation);
    if (asked === undefined) continue;
    operations.delete(operation);
    stay(-1);
    if (error === undefined) asked.resolve(value);
    else asked.reject(fromParts(error));
  }
  for (const consumer of news.ready) clients.get(consumer)?.onReady();
  for (const producer of news.room) clients.get(producer)?.deref()?.[its.onRoom]();
}

/** Tells groups what became of their records. */
function tell(count, errors) {
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

/** Starts an operation of the addon's: `start` gets its number. */
function operate(start) {
  return new Promise((resolve, reject) => {
    const operation = number();
    start(operation);
    operations.set(operation, { resolve, reject });
    stay(1);
  });
}

module.exports = { mailbox, groups, clients, enlist, discharge, forget, number, stay, operate };
