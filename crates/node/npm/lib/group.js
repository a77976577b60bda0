'use strict';

const internal = require('./internal.js');

/** The outcomes of one `sendMany`. */
class Tally {
  delivered = 0;
  failures = [];
  /** Records without an outcome, plus one until all are sent. */
  left = 1;

  constructor(resolve, reject) {
    this.resolve = resolve;
    this.reject = reject;
  }

  fail(index, error) {
    this.failures.push({ index, error });
  }

  complete(records) {
    this.left -= records;
    if (this.left > 0) return;
    const { delivered, failures } = this;
    if (failures.length === 0) {
      this.resolve({ delivered });
      return;
    }
    failures.sort((one, other) => one.index - other.index);
    const { error } = failures[0];
    error.failures = failures;
    error.delivered = delivered;
    this.reject(error);
  }
}

/** The records of one call to the addon. */
class Group {
  count = 0;
  failures = 0;
  /** Records that the producer has counted as delivered. */
  counted = 0;
  /** Whether the low-level producer sent them: all or none, and not counted. */
  lowLevel = false;
  /** The addon's producer that sent them. */
  native = null;
  /** Resolve, reject and topic of each record, flat. Null for a record without a promise. */
  waiters = null;
  /** The `sendMany` that they belong to, and the index of the first of them in it. */
  tally = null;
  first = 0;

  constructor(producer) {
    this.producer = producer;
  }

  /** Adds a record with a promise. */
  add(resolve, reject, topic) {
    this.waiters ??= new Array(3 * this.count).fill(null);
    this.waiters.push(resolve, reject, topic);
    this.count++;
  }

  /** Adds a record without a promise. */
  addWithoutPromise() {
    if (this.waiters !== null) this.waiters.push(null, null, null);
    this.count++;
  }

  /** Assigns all records to a `sendMany`; `first` is the index of the first of them in it. */
  assignTo(tally, first) {
    this.tally = tally;
    this.first = first;
  }

  delivered(index, partition, offset, timestamp) {
    const { waiters } = this;
    if (waiters === null) return;
    const resolve = waiters[3 * index];
    if (resolve === null) return;
    this.counted++;
    this.producer[internal.count](this, 1, 0);
    resolve({ topic: waiters[3 * index + 2], partition, offset, timestamp });
  }

  failed(index, error) {
    const { waiters, producer } = this;
    this.failures++;
    producer[internal.count](this, 0, 1);
    const reject = waiters === null ? null : waiters[3 * index + 1];
    if (reject !== null) {
      producer[internal.onRejected](this, waiters[3 * index + 2], error);
      reject(error);
    } else if (this.tally !== null) {
      this.tally.fail(this.first + index, error);
    } else {
      producer[internal.onFailure](error);
    }
  }

  /** Every record has its outcome. */
  end() {
    const delivered = this.count - this.failures;
    this.producer[internal.count](this, delivered - this.counted, 0);
    this.producer[internal.onCompleted]();
    if (this.tally !== null) {
      this.tally.delivered += delivered;
      this.tally.complete(this.count);
    }
  }
}

module.exports = { Group, Tally };
